"""`KronosPredictor`: forecasts from candles.

- `forecast` and `forecast_many` keep every sample path. Paths depend on the seed, not on the batch; candles are valid,
  timestamps come from the calendar, and `calibration` corrects the paths.
- The published methods (`predict`, `predict_batch`, `generate`), which average paths, come from `CompatMixin`.
- Networks are packed for decoding once, and again before the next forecast if their weights have changed.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from kronos.calendars import FutureTimes
from kronos.calibration import Calibration, ModelIdentity, calibrate_forecast
from kronos.candles import Candles
from kronos.errors import CheckpointError, ParameterError
from kronos.forecasts import Forecast, Forecasts, repair_candles, repair_reasons
from kronos.formatting import join_names, short_count
from kronos.inference.adaptive import LEAST_HISTORY, EarlierOrigins
from kronos.inference.batching import SeriesInput, sample_paths
from kronos.inference.compat import CompatMixin
from kronos.inference.devices import Precision, compute_dtype, pick_device
from kronos.inference.engine import PackedModel, check_horizon
from kronos.inference.metadata import (
    ForecastSettings,
    PredictorInfo,
    build_metadata,
    level_error,
    model_title,
    sampling_details,
    weights_info,
)
from kronos.inference.registry import register_model
from kronos.inference.sampling import SamplingParams, is_whole
from kronos.nn import Kronos, KronosTokenizer
from kronos.normalisation import normalise
from kronos.notebook import html_summary
from kronos.preprocessing import (
    ModelInput,
    NamedCandles,
    Skipped,
    Timestamps,
    as_candles,
    as_index,
    as_series,
    resolve_future,
    skip_unusable,
    time_features,
)
from kronos.progress import ProgressCallback
from kronos.zoo import DEFAULT_MODEL, find_entry

CalibrationChoice = Calibration | str | Path | bool | None
_FIT = "fit one with 'kronos calibrate'"


def resolve_calibration(
    choice: CalibrationChoice, model: Kronos, tokenizer: KronosTokenizer, sampling: SamplingParams
) -> Calibration | None:
    """Load a calibration and validate that it was fitted for this model, tokenizer and sampling.

    Args:
        choice: None for the one that ships with the model, if there is one for this sampling; True for that one, or an
            error; False for none; a calibration, or a path.
        model: The model whose forecasts it corrects.
        tokenizer: The model's tokenizer.
        sampling: Sampling parameters.

    Raises:
        ParameterError: If the model ships without calibration, or it was fitted for other forecasts.
        DataError: If the file is missing or not a calibration.
    """
    if choice is False:
        return None
    if choice is None:
        shipped = _default_calibration(model)
        fits = shipped is not None and not _difference(shipped, calibration_identity(model, tokenizer, sampling))
        return shipped if fits else None
    if choice is True:
        calibration = _shipped_calibration(model)
    elif isinstance(choice, Calibration):
        calibration = choice
    elif isinstance(choice, str | Path):
        calibration = Calibration.load(choice)
    else:
        raise ParameterError(
            f"Invalid calibration of type {type(choice).__name__}: pass True, a Calibration or a path."
        )
    _check_identity(calibration, calibration_identity(model, tokenizer, sampling))
    return calibration


def calibration_identity(model: Kronos, tokenizer: KronosTokenizer, sampling: SamplingParams) -> ModelIdentity:
    """The identity that a calibration of these forecasts is stored with."""
    return ModelIdentity(
        model=model_title(model),
        sha256=weights_info(model).get("sha256"),
        tokenizer_sha256=weights_info(tokenizer).get("sha256"),
        sampling=sampling_details(sampling),
    )


def _default_calibration(model: Kronos) -> Calibration | None:
    """The calibration that ships with the model; None if there is none, or the weights have changed."""
    located = model.located
    if located is None or not model.unchanged or located.calibration is None:
        return None
    return Calibration.load(located.calibration)


def _raw_note(model: Kronos, tokenizer: KronosTokenizer, sampling: SamplingParams) -> str | None:
    """Why a forecast is raw by default although a calibration ships with its model; None if none does."""
    shipped = _default_calibration(model)
    if shipped is None:
        return None
    difference = _difference(shipped, calibration_identity(model, tokenizer, sampling))
    return f"Raw: the calibration of {model_title(model)} is for other forecasts ({difference})."


def _shipped_calibration(model: Kronos) -> Calibration:
    if model.located is None or not model.unchanged:
        state = "was never saved" if model.located is None else "has changed since it was loaded"
        raise ParameterError(f"The model {state}, so it has no calibration: {_FIT}, and pass it or its path.")
    if model.located.calibration is None:
        raise ParameterError(
            f"No calibration ships with {model_title(model)}: {_FIT}, and pass it or its path, or save it as "
            f"calibration.json in {model.located.folder}."
        )
    return Calibration.load(model.located.calibration)


def _difference(calibration: Calibration, identity: ModelIdentity) -> str:
    """Describe how the forecasts of a calibration's fit differ from others; empty if they do not."""
    difference = calibration.identity.difference_from(identity)
    if not difference and calibration.identity.tokenizer_sha256 and not identity.tokenizer_sha256:
        return "tokenizers differ (this one was never saved, or has changed since it was loaded)"
    return difference


def _check_identity(calibration: Calibration, identity: ModelIdentity) -> None:
    difference = _difference(calibration, identity)
    if difference:
        raise ParameterError(
            f"The calibration was fitted for other forecasts: {difference}. To correct these, {_FIT}; to apply it "
            "nevertheless, use Calibration.apply(forecast, other_model=True)."
        )


class KronosPredictor(CompatMixin):
    """Forecasts candles with a model and its tokenizer.

    Args:
        model: The model; it is moved to the device and set to evaluation mode.
        tokenizer: The tokenizer that belongs to the model; likewise.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``; None for the best available one.
        max_context: Longest window of history and forecast together, in candles.
        clip: Bound of the normalised candles, in standard deviations.
        precision: ``"exact"`` (float32), or ``"fast"`` (bfloat16 if the hardware supports it).
        cuda_graphs: Whether to decode with CUDA graphs on a GPU with CUDA; they change no path.

    Raises:
        DeviceError: If there is no such device.
        ParameterError: If the tokenizer does not fit the model, or a parameter is out of range.
    """

    def __init__(
        self,
        model: Kronos,
        tokenizer: KronosTokenizer,
        device: str | torch.device | None = None,
        max_context: int = 512,
        clip: float = 5,
        *,
        precision: Precision = "exact",
        cuda_graphs: bool = True,
    ) -> None:
        self.least_history = model.pairing.least_history if model.pairing is not None else 1
        if max_context <= self.least_history:
            raise ParameterError(
                f"Invalid max_context {max_context}: choose at least {self.least_history + 1} candles."
            )
        self.device = pick_device(device)
        self.model = model.to(self.device).eval()
        self.tokenizer = tokenizer.to(self.device).eval()
        self.max_context, self.clip, self.precision, self.cuda_graphs = max_context, clip, precision, cuda_graphs
        _check_pairing(self.model, self.tokenizer)
        self._packed: tuple[tuple[object, ...], PackedModel] | None = None
        self.packed_model()

    @classmethod
    def from_pretrained(
        cls,
        ref: str | Path = DEFAULT_MODEL,
        *,
        tokenizer: str | Path | None = None,
        device: str | torch.device | None = None,
        revision: str | None = None,
        precision: Precision = "exact",
        cuda_graphs: bool = True,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
    ) -> KronosPredictor:
        """Load a model with its tokenizer and context.

        Args:
            ref: Zoo name (``kronos-small``), hub id or folder; the bundled model by default.
            tokenizer: Replaces the tokenizer that belongs to the model.
            device: As for the constructor.
            revision: Branch, tag or commit of the model on the hub.
            precision: As for the constructor.
            cuda_graphs: As for the constructor.
            cache_dir: Folder for downloads; the hub's own cache by default.
            local_files_only: Do not use the network.

        Raises:
            CheckpointError: If the weights cannot be found, or their tokenizer is unknown.
        """
        model = Kronos.from_pretrained(ref, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only)
        assert model.pairing is not None  # from_pretrained sets it on every model
        tokenizer = tokenizer or model.pairing.tokenizer
        if tokenizer is None:
            raise CheckpointError(f"The tokenizer of {ref} is unknown: pass it as tokenizer.")
        network = KronosTokenizer.from_pretrained(tokenizer, cache_dir=cache_dir, local_files_only=local_files_only)
        context = model.pairing.context
        return cls(model, network, device, context, precision=precision, cuda_graphs=cuda_graphs)

    def __repr__(self) -> str:
        name = model_title(self.model)
        return f"<KronosPredictor {name}: context {self.max_context}, {self.device}, {self.precision}>"

    def _repr_html_(self) -> str:
        """Show the model, its tokenizer and how it computes in notebooks."""
        return html_summary(f"KronosPredictor of {model_title(self.model)}", self._facts())

    def packed_model(self) -> PackedModel:
        """The networks packed for decoding, with their current weights."""
        tensors = [t for net in (self.model, self.tokenizer) for t in (*net.parameters(), *net.buffers())]
        # Inference tensors have no version counter; they cannot be trained either.
        state: tuple[object, ...] = (
            *(self.precision, self.cuda_graphs, self.model.s2_attention),
            *((t.data_ptr(), t.device, t.dtype, 0 if t.is_inference() else t._version) for t in tensors),
        )
        if self._packed is None or self._packed[0] != state:
            dtype = compute_dtype(self.precision, self.device, self.model.norm.weight.dtype)
            packed = PackedModel.pack(self.model, self.tokenizer, dtype, cuda_graphs=self.cuda_graphs)
            self._packed = state, packed
        return self._packed[1]

    def repack(self) -> None:
        """Pack the networks again at the next forecast; needed after writes through ``.data``, which go undetected."""
        self._packed = None

    def forecast(
        self,
        candles: Candles | pd.DataFrame,
        horizon: int = 24,
        *,
        samples: int | None = None,
        seed: int | None = None,
        sampling: SamplingParams | str = "default",
        lookback: int | None = None,
        timestamps: Timestamps | None = None,
        calibration: CalibrationChoice = None,
        market: str | None = None,
        adapt: int | None = None,
        progress: ProgressCallback | None = None,
    ) -> Forecast:
        """Sample future candles of one series.

        Args:
            candles: The history; at most its last ``max_context − horizon`` candles are used.
            horizon: Candles to forecast, at least 1 and below ``max_context``.
            samples: Number of sample paths; by default that of ``sampling`` (100). More paths do not change the first
                ones.
            seed: Random seed; random numbers depend on (seed, symbol, path, step). None for a random seed, which the
                result records.
            sampling: A preset (``default``, ``conservative``, ``aggressive``, ``published``, …) or parameters.
            lookback: Maximum number of candles of history to use; all that fit by default.
            timestamps: Timestamps of the future candles; from the calendar by default.
            calibration: By default the calibration that ships with the model, if there is one for this sampling; False
                for raw paths, True to require it, a `Calibration`, or the path of one. ``forecast.metadata.state`` says
                which it was. Each corrected path depends on all paths, so more paths change the first ones slightly.
            market: Group of the calibration's factors, such as ``crypto`` or ``us_equity``; by default inferred from
                the calendar. Only used with a calibration.
            adapt: Number of earlier origins in the history whose outcomes correct the bands, at least 50; None for no
                correction. See `kronos.inference.adaptive`.
            progress: Called with the number of generated candles and their total.

        Returns:
            All paths, as valid candles, with metadata.

        Raises:
            DataError: If the candles or the calibration's file cannot be used, or are too few to adapt to.
            ParameterError: If a parameter is out of range, or the calibration is missing or another model's.
        """
        history = as_candles(candles)
        name = history.symbol or ""
        times = {} if timestamps is None else {name: as_index(timestamps, "timestamps")}
        settings = ForecastSettings(SamplingParams.resolve(sampling, samples, seed), horizon, lookback)
        return self._corrected([(name, history)], settings, times, progress, calibration, {name: market}, adapt)[name]

    def forecast_many(
        self,
        series: NamedCandles,
        horizon: int = 24,
        *,
        samples: int | None = None,
        seed: int | None = None,
        sampling: SamplingParams | str = "default",
        lookback: int | None = None,
        timestamps: Mapping[str, Timestamps] | None = None,
        calibration: CalibrationChoice = None,
        market: str | Mapping[str, str] | None = None,
        adapt: int | None = None,
        strict: bool = True,
        progress: ProgressCallback | None = None,
    ) -> Forecasts:
        """Sample future candles of many series, which may differ in length, interval and calendar.

        Args:
            series: A dictionary by name, a list of candles with distinct symbols, or a long frame (``unique_id``,
                ``ds``, open, …). Random numbers depend on the name, so a series' paths do not depend on the others.
            horizon: As for `forecast`.
            samples: Number of sample paths per series.
            seed: Random seed.
            sampling: A preset or parameters.
            lookback: Maximum number of candles of history to use.
            timestamps: Timestamps of the future candles by name; from the calendar for series not listed.
            calibration: As for `forecast`.
            market: Group of the calibration's factors, for all series or by name; inferred for series not listed.
            adapt: As for `forecast`; each series adapts to its own history.
            strict: Whether a series that cannot be forecast is an error; otherwise it is left out, and the result's
                ``skipped`` has the reason.
            progress: Called with the number of generated candles and their total.

        Returns:
            Forecasts by name, in the order given: a dictionary that also makes one table of them, with `to_frame`.

        Raises:
            DataError: If candles (the message names the series) or the calibration's file cannot be used; without
                ``strict`` only if none of the series can.
            ParameterError: If a parameter is out of range, or the calibration is missing or another model's.
        """
        skipped: Skipped | None = None if strict else {}
        named = as_series(series, skipped)
        names = [*(name for name, _ in named), *(skipped or ())]
        times = {name: as_index(values, f"timestamps of {name}") for name, values in (timestamps or {}).items()}
        _check_names("timestamps", times, names)
        markets = market if isinstance(market, Mapping) else dict.fromkeys(names, market)
        _check_names("market", markets, names)
        settings = ForecastSettings(SamplingParams.resolve(sampling, samples, seed), horizon, lookback)
        forecasts = Forecasts(self._corrected(named, settings, times, progress, calibration, markets, adapt, skipped))
        forecasts.skipped = {name: str(error) for name, error in (skipped or {}).items()}
        return forecasts

    def calibration_for(
        self, calibration: CalibrationChoice = True, sampling: SamplingParams | str = "default"
    ) -> Calibration | None:
        """Load the calibration that `forecast` would apply, and validate that it was fitted for this model.

        Args:
            calibration: As for `forecast`.
            sampling: As for `forecast`; a calibration is fitted for one temperature and filter.

        Raises:
            DataError: If its file is missing or damaged.
            ParameterError: If the model has no calibration, or it was fitted for another model or sampling.
        """
        return resolve_calibration(calibration, self.model, self.tokenizer, SamplingParams.resolve(sampling))

    def _facts(self) -> list[tuple[str, str]]:
        """Names and values that describe the predictor."""
        located = self.model.located
        calibrated = located is not None and self.model.unchanged and located.calibration is not None
        return [
            ("parameters", short_count(sum(parameter.numel() for parameter in self.model.parameters()))),
            ("context", f"{self.max_context:,} candles"),
            ("least history", f"{self.least_history:,}"),
            ("device", str(self.device)),
            ("precision", self.precision),
            ("calibration", "shipped with the model" if calibrated else "none"),
        ]

    def _corrected(
        self,
        named: Sequence[tuple[str, Candles]],
        settings: ForecastSettings,
        times: Mapping[str, pd.DatetimeIndex],
        progress: ProgressCallback | None,
        choice: CalibrationChoice,
        markets: Mapping[str, str | None],
        adapt: int | None,
        skipped: Skipped | None = None,
    ) -> dict[str, Forecast]:
        """Forecasts of all series, calibrated and adapted to their histories as requested."""
        correction = self.calibration_for(choice, settings.sampling)
        # Why the forecasts are raw, if that is not what a reader expects.
        defaulted = choice is None and correction is None
        note = _raw_note(self.model, self.tokenizer, settings.sampling) if defaulted else None
        check_horizon(settings.horizon, self.max_context, self.least_history)
        least = max(2, self.least_history, min(LEAST_HISTORY, self.max_context - settings.horizon))
        origins = EarlierOrigins.of(named, int(settings.horizon), adapt, least, skipped)
        named, times = [*origins.series, *origins.earlier], {**times, **origins.times}
        forecasts = self._forecast(named, settings, times, progress, note, skipped)
        for name, raw in forecasts.items():
            if correction is not None:
                forecasts[name] = calibrate_forecast(
                    raw, correction, market=markets.get(origins.owners.get(name, name))
                )
        return origins.adapt(forecasts, skipped)

    def _forecast(
        self,
        named: Sequence[tuple[str, Candles]],
        settings: ForecastSettings,
        timestamps: Mapping[str, pd.DatetimeIndex],
        progress: ProgressCallback | None,
        note: str | None,
        skipped: Skipped | None = None,
    ) -> dict[str, Forecast]:
        check_horizon(settings.horizon, self.max_context, self.least_history)
        settings = replace(settings, horizon=int(settings.horizon))
        seed = secrets.randbelow(2**31) if settings.sampling.seed is None else settings.sampling.seed
        usable: list[tuple[str, Candles, int, FutureTimes]] = []
        series: list[SeriesInput] = []
        for name, history in named:
            with skip_unusable(name, skipped):
                used = self._truncate(name, history, settings)
                future = resolve_future(name, history, settings.horizon, timestamps.get(name))
                series.append(SeriesInput(name, self._prepare(used, future)))
                usable.append((name, history, len(used), future))
        if not series:
            raise next(iter((skipped or {}).values()))
        packed = self.packed_model()
        info = PredictorInfo.of(
            self.model, self.tokenizer, self.max_context, self.precision, packed.model.dtype, self.device
        )
        sampled = sample_paths(packed, series, settings.sampling, seed, progress)
        forecasts = {}
        for (name, history, rows, future), raw in zip(usable, sampled, strict=True):
            if not history.has_volume:
                raw.paths[..., 4:] = 0.0
            paths, repaired = repair_candles(raw.paths)
            metadata = build_metadata(info, settings, (name, history), rows, future, seed)
            reasons = repair_reasons(raw.paths) if repaired else {}
            metadata = metadata.with_details(level_error=level_error(raw.last, history), repairs=reasons)
            metadata = replace(metadata, notes=(*metadata.notes, note)) if note else metadata
            forecasts[name] = Forecast(paths, future.times, history, metadata, repaired)
        return forecasts

    def _truncate(self, name: str, candles: Candles, settings: ForecastSettings) -> Candles:
        """The end of the history that fits the context together with the horizon."""
        self._check_history(len(candles), name)
        needed = max(2, self.least_history)
        if settings.lookback is not None and not (is_whole(settings.lookback) and settings.lookback >= needed):
            raise ParameterError(
                f"Invalid lookback {settings.lookback!r}: choose at least {needed} candles, as a whole number."
            )
        room = self.max_context - settings.horizon
        return candles.tail(max(2, room if settings.lookback is None else min(room, settings.lookback)))

    def _prepare(self, history: Candles, future: FutureTimes) -> ModelInput:
        values = history.frame.to_numpy(dtype=np.float64)
        x, scaler = normalise(values, self.clip, normalisation=self.tokenizer.normalisation)
        known, ahead = (time_features(future.clock.local(times)) for times in (history.index, future.times))
        return ModelInput(x, known, ahead, scaler, future.times)


def _check_names(argument: str, values: Mapping[str, object], names: Sequence[str]) -> None:
    unknown = sorted(values.keys() - set(names))
    if unknown:
        known = join_names(names, 8)
        raise ParameterError(f"{argument} names '{unknown[0]}', which is not one of the series: choose from {known}.")


def _check_pairing(model: Kronos, tokenizer: KronosTokenizer) -> None:
    """Reject the tokenizer of another published model: its tokens have as many bits, but mean other candles."""
    pairing = model.pairing
    expected = find_entry(pairing.tokenizer) if pairing and pairing.tokenizer else None
    actual = tokenizer.located.entry if tokenizer.located else None
    if expected and actual and expected.name != actual.name and pairing and pairing.basis != "guessed":
        raise ParameterError(f"The model was trained with {expected.title}, not with {actual.title}: load that one.")


register_model("kronos_predictor", KronosPredictor)
