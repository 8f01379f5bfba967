"""What a cycle of the live forecaster costs beside its forecast alone, part by part."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import pandas as pd

from benchmarks.inputs import random_candles, save_networks
from benchmarks.live_records import HORIZON, PATHS
from benchmarks.plans import full
from benchmarks.plans import quick as quick_plan
from benchmarks.timing import Times
from kronos.live import cycle as cycle_module
from kronos.live.clock import ReplayClock
from kronos.live.config import LiveConfig
from kronos.live.cycle import Cycle
from kronos.live.feed import MarketFeed
from kronos.live.forecaster import LiveModel
from kronos.live.page import site as site_module
from kronos.live.record import Record
from kronos.live.service import LiveSite
from kronos.sources.replay import Recording, Replay

HISTORY = 360
_WARM_UP = 2


@dataclass(frozen=True, slots=True)
class CycleCost:
    """Seconds of the parts of a cycle.

    Attributes:
        parts: By part; ``the whole cycle`` and ``its forecast alone`` among them.
    """

    parts: dict[str, Times]

    @property
    def ratio(self) -> float:
        """How many times as long as its forecast a cycle takes."""
        return self.parts["the whole cycle"].median / self.parts["its forecast alone"].median


def measure_cycles(count: int, folder: Path, *, quick: bool) -> CycleCost:
    """Run cycles over recorded candles, an hour apart."""
    architecture = (quick_plan() if quick else full()).architecture("kronos-small")
    config = LiveConfig.model_validate(
        {
            "model": {"model_name": str(save_networks(architecture, folder / "networks")), "device": "cpu"},
            "sampling": {"num_samples": PATHS},
            "data": {"source": "replay", "symbol": "WALK", "history_window": HISTORY, "forecast_horizon": HORIZON},
            "output": {"folder": str(folder / "page")},
            "record": {"folder": str(folder / "state")},
        }
    )
    candles = random_candles(HISTORY + 200)
    replay = Replay(Recording({("WALK", "1h"): candles}), at=candles.end - pd.Timedelta(hours=120))
    clock = ReplayClock(replay)
    seconds: dict[str, list[float]] = defaultdict(list)
    with Record.open(config.record.database) as record:
        model = LiveModel(config.model.model_name[0], config)
        cycle = Cycle(config, MarketFeed([replay], clock), clock, record, [model])
        site = LiveSite(cycle, record, clock)
        _note(seconds, model._portable.predictor, "forecast_many", "its forecast alone")
        _note(seconds, cycle_module, "forecast_all", "forecast, calibration and baselines")
        _note(seconds, cycle, "_fetch", "candles")
        _note(seconds, cycle, "_enter", "entry in the record")
        _note(seconds, cycle, "_settle", "scores and revisions")
        _note(seconds, site_module, "plot_forecast", "the picture (PNG)")
        _note(seconds, site, "update", "the page, with the picture")
        for _ in range(_WARM_UP + count):
            replay.advance(pd.Timedelta(hours=1))
            started = perf_counter()
            site.update(cycle.run())
            seconds["the whole cycle"].append(perf_counter() - started)
    return CycleCost({name: Times(tuple(times[_WARM_UP:])) for name, times in seconds.items()})


def _note(seconds: dict[str, list[float]], owner: Any, name: str, part: str) -> None:
    """Replace a function by one that notes how long it takes."""
    function: Callable[..., Any] = getattr(owner, name)

    def measured(*arguments: Any, **options: Any) -> Any:
        started = perf_counter()
        try:
            return function(*arguments, **options)
        finally:
            seconds[part].append(perf_counter() - started)

    setattr(owner, name, measured)
