"""What made a forecast: gathered once, so that it travels with the result."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from kronos import provenance
from kronos.calendars import FutureTimes
from kronos.candles import Candles
from kronos.forecasts import ForecastMetadata
from kronos.inference.sampling import SamplingParams
from kronos.nn import Kronos, KronosTokenizer
from kronos.zoo import CheckpointRef

_SHORT = 32  # candles of history below which a forecast says that it has little to go by


@dataclass(frozen=True, slots=True)
class ForecastSettings:
    """What was asked for: sampling, horizon in candles, and the most candles of history to use."""

    sampling: SamplingParams
    horizon: int
    lookback: int | None


@dataclass(frozen=True, slots=True)
class PredictorInfo:
    """What a forecast is made with: both networks, the context in candles, and how they compute."""

    model: Kronos
    tokenizer: KronosTokenizer
    max_context: int
    precision: str
    dtype: torch.dtype
    device: torch.device


def build_metadata(
    machinery: PredictorInfo,
    recipe: ForecastSettings,
    series: tuple[str, Candles],
    used: int,
    time: FutureTimes,
    seed: int,
) -> ForecastMetadata:
    """How one forecast was made.

    Args:
        machinery: The networks and how they compute.
        recipe: What was asked for.
        series: The name that keyed the draws, and the history as given.
        used: How many of its last candles were used.
        time: Where the future timestamps come from.
        seed: Of the draws.
    """
    name, history = series
    params = recipe.sampling
    details: dict[str, Any] = {
        "series": name,
        "seed": seed,
        "sampling": sampling_details(params),
        "samples": params.samples,
        "horizon": recipe.horizon,
        "lookback": used,
        "history": {
            "rows": len(history),
            "first": str(history.start),
            "last": str(history.end),
            "interval": str(history.interval),
            "source": history.source,
            "sha256": provenance.frame_digest(history.frame.iloc[-used:]),
        },
        "model": weights_info(machinery.model),
        "tokenizer": weights_info(machinery.tokenizer),
        "max_context": machinery.max_context,
        "precision": machinery.precision,
        "dtype": str(machinery.dtype).removeprefix("torch."),
        "device": str(machinery.device),
        "versions": _versions(),
        "created": provenance.now_utc(),
    }
    return ForecastMetadata(
        model=title(machinery.model),
        details=details,
        calendar=time.calendar,
        calendar_basis=time.basis,
        simulated=history.simulated,
        notes=_notes(history, used, recipe, time),
    )


def sampling_details(params: SamplingParams) -> dict[str, Any]:
    """What of the sampling a path's distribution depends on."""
    return {"temperature": params.temperature, "top_k": params.top_k, "top_p": params.top_p}


def title(model: Kronos) -> str:
    """What forecasts call a model; it says so where the weights are no file's."""
    located = model.located
    if located is None:
        return "kronos (unsaved)"
    return _ref(located) if model.unchanged else f"{_ref(located)} (changed)"


def _ref(located: CheckpointRef) -> str:
    return located.entry.name if located.entry else Path(os.path.abspath(located.ref)).name  # noqa: PTH100 (no links)


def weights_info(network: Kronos | KronosTokenizer) -> dict[str, Any]:
    """Where a network's weights come from; those that were never saved, or changed since, have no file's hash."""
    located = network.located
    if located is None:
        return {"ref": None}
    ref = _ref(located)
    if not network.unchanged:
        return {"ref": ref, "revision": located.revision, "changed": True, "sha256": None}
    file = located.folder / "model.safetensors"
    stat = file.stat() if file.exists() else None
    digest = _digest(file, stat.st_mtime_ns, stat.st_size) if stat else None
    return {"ref": ref, "revision": located.revision, "sha256": digest}


@lru_cache(maxsize=16)
def _digest(file: Path, modified: int, size: int) -> str:  # noqa: ARG001 (they make the cache notice a new file)
    return provenance.sha256_file(file)


@lru_cache(maxsize=1)
def _versions() -> dict[str, str]:
    return provenance.versions()


def _notes(history: Candles, used: int, recipe: ForecastSettings, time: FutureTimes) -> tuple[str, ...]:
    notes = []
    asked = min(len(history), recipe.lookback or len(history))
    if used < asked:
        notes.append(f"Used the last {used:,} of {asked:,} candles: history and horizon share the context.")
    if used < _SHORT:
        notes.append(f"Only {used} candles of history: the forecast has little to go by.")
    if time.basis in ("projected", "inferred"):
        notes.append(time.note)
    if history.frame["close"].iloc[-used:].nunique() == 1:
        notes.append("The close never changes in the history used: the forecast means little.")
    return tuple(note for note in notes if note)
