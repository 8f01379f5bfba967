"""Metadata of a forecast: networks, sampling, history and versions, collected when it is made."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from kronos import provenance
from kronos.calendars import FutureTimes
from kronos.candles import COLUMNS, Candles
from kronos.candles.anomalies import describe_anomalies, find_anomalies
from kronos.forecasts import ForecastMetadata
from kronos.inference.sampling import SamplingParams
from kronos.nn import Kronos, KronosTokenizer
from kronos.typing import FloatArray

_SHORT_HISTORY = 32  # candles below which a forecast gets a note


@dataclass(frozen=True, slots=True)
class ForecastSettings:
    """Settings of a forecast: sampling, horizon, and the maximum number of candles of history to use."""

    sampling: SamplingParams
    horizon: int
    lookback: int | None


@dataclass(frozen=True, slots=True)
class PredictorInfo:
    """What forecasts of one call have in common: their networks, the context in candles, and how they compute.

    Attributes:
        title: The name of the model.
        details: What their metadata say of it.
    """

    title: str
    details: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        model: Kronos,
        tokenizer: KronosTokenizer,
        max_context: int,
        precision: str,
        dtype: torch.dtype,
        device: torch.device,
    ) -> PredictorInfo:
        """Describe the networks as they are now."""
        details = {
            "model": weights_info(model),
            "tokenizer": weights_info(tokenizer),
            "max_context": max_context,
            "precision": precision,
            "dtype": str(dtype).removeprefix("torch."),
            "device": str(device),
            "versions": _versions(),
        }
        return cls(model_title(model), details)


def build_metadata(
    predictor: PredictorInfo,
    settings: ForecastSettings,
    series: tuple[str, Candles],
    used: int,
    future: FutureTimes,
    seed: int,
) -> ForecastMetadata:
    """Build the metadata of one forecast.

    Args:
        predictor: The networks and how they compute.
        settings: Settings of the forecast.
        series: The name that keys the random numbers, and the whole history.
        used: Number of its last candles that were used.
        future: The future timestamps and their origin.
        seed: Random seed.
    """
    name, history = series
    params = settings.sampling
    details: dict[str, Any] = {
        "series": name,
        "seed": seed,
        "sampling": sampling_details(params),
        "samples": params.samples,
        "horizon": settings.horizon,
        "lookback": used,
        "history": {
            "rows": len(history),
            "first": str(history.start),
            "last": str(history.end),
            "interval": str(history.interval),
            "source": history.source,
            "sha256": provenance.frame_digest(history.frame.iloc[-used:]),
        },
        **copy.deepcopy(dict(predictor.details)),  # forecasts share nothing that a caller may change
        "created": provenance.now_utc(),
    }
    return ForecastMetadata(
        model=predictor.title,
        details=details,
        calendar=future.calendar,
        calendar_basis=future.basis,
        simulated=history.simulated,
        notes=_notes(history, used, settings, future),
    )


def level_error(last: FloatArray, history: Candles) -> float | None:
    """Log ratio of the last close as the tokenizer reconstructs it to the actual one; None if it is not positive.

    Args:
        last: The history's last candle as the tokenizer reconstructs it. [6]
        history: The history.
    """
    close, actual = float(last[COLUMNS.index("close")]), float(history.frame["close"].iloc[-1])
    return math.log(close / actual) if close > 0 else None


def sampling_details(params: SamplingParams) -> dict[str, Any]:
    """The sampling parameters that a path's distribution depends on."""
    return {"temperature": params.temperature, "top_k": params.top_k, "top_p": params.top_p}


def model_title(model: Kronos) -> str:
    """A model's name in forecasts, marked if its weights are not those of a file."""
    located = model.located
    if located is None:
        return "kronos (unsaved)"
    return located.name if model.unchanged else f"{located.name} (changed)"


def weights_info(network: Kronos | KronosTokenizer) -> dict[str, Any]:
    """Reference, revision and hash of a network's weights; no hash if they were never saved or have changed since."""
    located = network.located
    if located is None:
        return {"ref": None}
    ref = located.name
    if not network.unchanged:
        return {"ref": ref, "revision": located.revision, "changed": True, "sha256": None}
    file = located.folder / "model.safetensors"
    stat = file.stat() if file.exists() else None
    digest = _digest(file, stat.st_mtime_ns, stat.st_size) if stat else None
    return {"ref": ref, "revision": located.revision, "sha256": digest}


@lru_cache(maxsize=16)
def _digest(file: Path, modified: int, size: int) -> str:  # noqa: ARG001 (part of the key: a changed file is new)
    return provenance.sha256_file(file)


@lru_cache(maxsize=1)
def _versions() -> dict[str, str]:
    return provenance.versions()


def _notes(history: Candles, used: int, settings: ForecastSettings, future: FutureTimes) -> tuple[str, ...]:
    notes = []
    requested = min(len(history), settings.lookback or len(history))
    if used < requested:
        notes.append(f"Used the last {used:,} of {requested:,} candles: history and horizon share the context.")
    if used < _SHORT_HISTORY:
        notes.append(f"Only {used} candles of history: the forecast is unreliable.")
    if future.basis in ("projected", "inferred"):
        notes.append(future.note)
    notes.append(future.clock.note)
    recent = history.tail(used)
    if recent.frame["close"].nunique() == 1:
        notes.append("The close never changes in the history used: the forecast is unreliable.")
    else:
        notes += describe_anomalies(recent, find_anomalies(recent))
    return tuple(note for note in notes if note)
