"""Forecasts of the live forecaster: one model for all symbols, calibrated and raw, with baselines beside it.

An engine computes them in blocks of symbols. Random numbers are keyed by origin and symbol, so neither the engine nor
its number of workers changes any forecast.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from kronos.baselines import BASELINES
from kronos.calibration import Calibration, calibrate_forecast
from kronos.candles import Candles
from kronos.engines import Engine, LocalEngine, uses_gpu
from kronos.errors import DataError, ParameterError
from kronos.forecasts import Forecast, log_returns
from kronos.live.chain import canonical_json
from kronos.live.config import LiveConfig
from kronos.live.entries import ForecastEntry, LateEntry, encode_paths, format_time
from kronos.live.protocol import ProtocolModel
from kronos.metrics.forecast_score import history_sigma
from kronos.provenance import frame_digest, versions
from kronos.rng import derive_seed

BLOCK = 32  # symbols that are forecast together


@dataclass(frozen=True, eq=False)
class LiveForecast:
    """A forecast of one symbol with everything that is recorded beside it.

    Attributes:
        shown: The forecast that the page shows: calibrated if there is a calibration, else raw.
        raw: The forecast before calibration; the same object if there is none.
        baselines: Forecasts of the baselines, by name.
        seed: Random seed of this origin.
    """

    shown: Forecast
    raw: Forecast
    baselines: Mapping[str, Forecast]
    seed: int

    @property
    def contenders(self) -> dict[str, Forecast]:
        """All forecasts by name: ``calibrated`` if there is a calibration, ``raw``, and the baselines."""
        own = {"raw": self.raw} if self.shown is self.raw else {"calibrated": self.shown, "raw": self.raw}
        return own | dict(self.baselines)


class LiveForecaster(Protocol):
    """A model that forecasts several symbols at once."""

    @property
    def identity(self) -> ProtocolModel:
        """The model as the protocol names it."""
        ...

    def forecast(self, histories: Mapping[str, Candles], seed: int) -> dict[str, tuple[Forecast, Forecast]]:
        """Forecast each symbol.

        Args:
            histories: Candles by symbol.
            seed: Random seed.

        Returns:
            The shown and the raw forecast by symbol, without the symbols whose candles cannot be used.
        """
        ...


class LiveModel:
    """A Kronos model, loaded once.

    Args:
        ref: Zoo name, hub id or folder.
        config: The configuration.

    Raises:
        CheckpointError: If the weights cannot be found.
        DeviceError: If the device is not available.
    """

    def __init__(self, ref: str, config: LiveConfig) -> None:
        from kronos.inference import KronosPredictor, SamplingParams
        from kronos.inference.portable import PortablePredictor

        model, sampling = config.model, config.sampling
        predictor = KronosPredictor.from_pretrained(
            _reference(ref, model.model_path), tokenizer=model.tokenizer_name, device=model.device
        )
        if model.max_context is not None:
            predictor.max_context = min(model.max_context, predictor.max_context)
        self._portable = PortablePredictor.of(predictor)
        self._sampling = SamplingParams(
            temperature=sampling.temperature, top_p=sampling.top_p, samples=sampling.num_samples
        )
        self._calibration: Calibration | None = predictor.calibration_for(None, self._sampling)
        self._horizon, self._lookback = config.data.forecast_horizon, config.data.history_window

    @property
    def identity(self) -> ProtocolModel:
        """Name and digests of the model, its tokenizer and its calibration."""
        calibration = None
        if self._calibration is not None:
            text = canonical_json(self._calibration.to_dict())
            calibration = hashlib.sha256(text.encode("ascii")).hexdigest()
        model, tokenizer = (self._portable.weights[name].get("sha256") for name in ("model", "tokenizer"))
        return ProtocolModel(self._portable.name, model, tokenizer, calibration)

    @property
    def gpu(self) -> bool:
        """Whether the model uses a GPU that an engine has to provide."""
        return self._portable.gpu

    def forecast(self, histories: Mapping[str, Candles], seed: int) -> dict[str, tuple[Forecast, Forecast]]:
        """Forecast each symbol in one batch; see `LiveForecaster.forecast`."""
        made = self._portable.predictor.forecast_many(
            dict(histories),
            self._horizon,
            sampling=replace(self._sampling, seed=seed),
            lookback=self._lookback,
            calibration=False,
            strict=False,
        )
        raw = {name: self._portable.sign(forecast) for name, forecast in made.items()}
        if self._calibration is None:
            return {name: (forecast, forecast) for name, forecast in raw.items()}
        return {name: (calibrate_forecast(forecast, self._calibration), forecast) for name, forecast in raw.items()}


class LiveBaseline:
    """A baseline in the place of a model, for a record of what needs no model.

    Args:
        name: Name of the baseline.
        config: The configuration.
    """

    def __init__(self, name: str, config: LiveConfig) -> None:
        self._name = name
        self._horizon, self._samples = config.data.forecast_horizon, config.sampling.num_samples

    @property
    def identity(self) -> ProtocolModel:
        """Name of the baseline."""
        return ProtocolModel(self._name)

    def forecast(self, histories: Mapping[str, Candles], seed: int) -> dict[str, tuple[Forecast, Forecast]]:
        """Forecast each symbol; see `LiveForecaster.forecast`."""
        found, failures = dict[str, tuple[Forecast, Forecast]](), list[DataError]()
        for symbol, candles in histories.items():
            own = derive_seed(seed, symbol)
            try:
                forecast = BASELINES[self._name](candles, self._horizon, samples=self._samples, seed=own)
            except DataError as error:  # the other symbols are forecast all the same
                failures.append(error)
            else:
                found[symbol] = (forecast, forecast)
        if not found and failures:
            raise failures[0]
        return found


def load_forecaster(ref: str, config: LiveConfig) -> LiveForecaster:
    """Load a model, or a baseline by its name.

    Raises:
        CheckpointError: If the weights cannot be found.
    """
    if ref in BASELINES:
        return LiveBaseline(ref, config)
    return LiveModel(ref, config)


def check_baselines(names: Sequence[str]) -> None:
    """Check that the libraries of the baselines are installed.

    Raises:
        ParameterError: If one is missing; the message has the command that installs it.
    """
    for name in names:
        spec = BASELINES[name]
        if not spec.available:
            raise ParameterError(
                f"The baseline {name} needs {spec.needs}: python -m pip install {spec.needs}, or remove it from "
                "record.baselines."
            )


@dataclass(frozen=True)
class BlockForecasts:
    """The forecasts of a block of symbols.

    Attributes:
        found: Forecasts by symbol, without the symbols whose candles cannot be used.
        reason: Why the others have none.
    """

    found: dict[str, LiveForecast]
    reason: str = "The candles cannot be forecast."


@dataclass(frozen=True)
class BlockJob:
    """Forecasts a block of symbols that share an origin, with the baselines beside the model.

    It is picklable, for other processes and machines.

    Attributes:
        forecaster: The model.
        seed: Random seed of the origin.
        baselines: Names of the baselines.
        samples: Sample paths of a baseline.
    """

    forecaster: LiveForecaster
    seed: int
    baselines: tuple[str, ...]
    samples: int

    def __call__(self, histories: Mapping[str, Candles]) -> BlockForecasts:
        """Forecast each symbol; none if the model can use the candles of none of them."""
        try:
            forecasts = self.forecaster.forecast(histories, self.seed)
        except DataError as error:
            return BlockForecasts({}, str(error))
        return BlockForecasts(
            {
                symbol: LiveForecast(shown, raw, self._baselines(symbol, raw), self.seed)
                for symbol, (shown, raw) in forecasts.items()
            }
        )

    def _baselines(self, symbol: str, raw: Forecast) -> dict[str, Forecast]:
        found = {}
        for name in self.baselines:
            with suppress(DataError):  # the history is too short or constant: the forecast is without this baseline
                found[name] = BASELINES[name](
                    raw.history,
                    raw.horizon,
                    samples=self.samples,
                    seed=derive_seed(self.seed, f"{symbol} {name}"),
                    timestamps=raw.timestamps,
                )
        return found


def forecast_all(
    forecaster: LiveForecaster,
    histories: Mapping[str, Candles],
    origin: pd.Timestamp,
    config: LiveConfig,
    engine: Engine | None = None,
) -> tuple[dict[str, LiveForecast], dict[str, str]]:
    """Forecast the symbols that share an origin, in blocks of `BLOCK`.

    Args:
        forecaster: The model.
        histories: Candles by symbol.
        origin: Closing time of the last candles.
        config: The configuration.
        engine: Where the blocks are computed; by default in this process.

    Returns:
        Forecasts by symbol, and the reasons of the symbols whose candles cannot be used.

    Raises:
        DeviceError: If workers are killed again and again.
    """
    seed = derive_seed(config.sampling.seed, format_time(origin)) % 2**31
    job = BlockJob(forecaster, seed, tuple(config.record.baselines), config.sampling.num_samples)
    symbols = list(histories)
    blocks = [
        {symbol: histories[symbol] for symbol in symbols[start : start + BLOCK]}
        for start in range(0, len(symbols), BLOCK)
    ]
    forecasts, reasons = dict[str, LiveForecast](), dict[str, str]()
    with closing((engine or LocalEngine()).run(job, blocks, gpu=uses_gpu([forecaster]))) as finished:
        for position, block in finished:
            forecasts |= block.found
            reasons |= {symbol: block.reason for symbol in blocks[position] if symbol not in block.found}
    return forecasts, reasons


def forecast_entry(
    live: LiveForecast,
    *,
    series: str,
    origin: pd.Timestamp,
    made_at: pd.Timestamp,
    server_time: pd.Timestamp,
    source: str,
    volatility_window: int,
    late: bool,
) -> ForecastEntry:
    """Build the entry of a forecast.

    Args:
        live: The forecast.
        series: Id of the series.
        origin: Closing time of the last known candle.
        made_at: Time of this machine.
        server_time: Time on the source's clock.
        source: Name of the source.
        volatility_window: Returns of the recent volatility.
        late: Whether it comes too late to be scored.
    """
    shown, history = live.shown, live.shown.history
    closes = history.frame["close"].to_numpy(dtype=np.float64)
    contenders = live.contenders
    sigma = history_sigma(shown)
    recent = log_returns(closes[-volatility_window - 1 :])
    kind = LateEntry if late else ForecastEntry
    return kind(
        series=series,
        origin=format_time(origin),
        made_at=format_time(made_at),
        server_time=format_time(server_time),
        source=source,
        simulated=shown.simulated,
        last_close=float(shown.last_close),
        sigma=0.0 if math.isnan(sigma) else float(sigma),
        recent_volatility=float(recent.std(ddof=1)) if len(recent) > 1 else 0.0,
        times=[format_time(time) for time in shown.timestamps],
        paths={name: encode_paths(forecast.returns(cumulative=True)) for name, forecast in contenders.items()},
        probabilities=_probabilities(contenders, volatility_window),
        history=_history(history),
        seed=live.seed,
        versions=_versions(),
    )


@cache
def _versions() -> dict[str, str]:
    return versions()


def _probabilities(contenders: Mapping[str, Forecast], window: int) -> dict[str, dict[str, list[float]]]:
    """Estimate and interval of both probabilities by contender."""
    upside = {name: forecast.upside_probability() for name, forecast in contenders.items()}
    amplification = {name: forecast.volatility_amplification(window) for name, forecast in contenders.items()}
    return {
        event: {name: [float(chance), chance.low, chance.high] for name, chance in chances.items()}
        for event, chances in (("upside", upside), ("amplification", amplification))
    }


def _history(history: Candles) -> dict[str, Any]:
    return {
        "candles": len(history),
        "first": format_time(history.start),
        "sha256": frame_digest(history.frame),
        "findings": sorted({finding.code for finding in history.findings}),
    }


def _reference(ref: str, folder: Path | None) -> str | Path:
    """Return the model's folder within ``model_path``, or the folder itself if it is the model's; else the name."""
    if folder is None:
        return ref
    own = folder / ref
    return own if own.is_dir() else folder
