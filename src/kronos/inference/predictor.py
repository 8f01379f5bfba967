"""`KronosPredictor`: forecasts from candles.

Notable here:
- `forecast` and `forecast_many` are what users want: every path kept, reproducible by seed whatever the batch, valid
  candles, timestamps from the calendar, raw or calibrated by one argument, and all that made the result travelling
  with it;
- `predict`, `predict_batch` and `generate` are the published methods, which average paths: `PublishedMethods`;
- networks are packed for decoding, and again before the next forecast after their weights have changed.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from kronos.calendars import FutureTimes
from kronos.calibration import Calibration, ModelIdentity, calibrate_forecast
from kronos.candles import COLUMNS, Candles
from kronos.errors import CheckpointError, ParameterError
from kronos.forecasts import Forecast, repair_candles
from kronos.inference.batching import SeriesInput, decode_blocks
from kronos.inference.compat import CompatMixin
from kronos.inference.devices import Precision, compute_dtype, pick_device
from kronos.inference.engine import PackedModel, check_horizon
from kronos.inference.inputs import NamedCandles, as_candles, as_series, resolve_future
from kronos.inference.metadata import (
    ForecastSettings,
    PredictorInfo,
    build_metadata,
    sampling_details,
    title,
    weights_info,
)
from kronos.inference.sampling import SamplingParams
from kronos.nn import Kronos, KronosTokenizer
from kronos.preprocessing import ModelInput, Timestamps, as_index, normalise, time_features
from kronos.progress import ProgressCallback
from kronos.zoo import DEFAULT_MODEL, find

Choice = Calibration | str | Path | bool | None
_FIT = "fit one with 'kronos calibrate'"


def resolve_calibration(
    choice: Choice, model: Kronos, tokenizer: KronosTokenizer, sampling: SamplingParams
) -> Calibration | None:
    """The calibration meant, if it corrects what this model and this sampling get wrong.

    Args:
        choice: None or False for none, True for the one that lies beside the model's weights, a calibration, or a file.
        model: Whose forecasts it shall correct.
        tokenizer: That goes with it.
        sampling: How paths are drawn.

    Raises:
        ParameterError: If the model has none of its own, or the one meant belongs to other forecasts.
        DataError: If the file is missing or no calibration.
    """
    if choice is None or choice is False:
        return None
    if choice is True:
        calibration = _own(model)
    elif isinstance(choice, Calibration):
        calibration = choice
    elif isinstance(choice, str | Path):
        calibration = Calibration.load(choice)
    else:
        raise ParameterError(f"calibration is True, a Calibration or a file's path, not {type(choice).__name__}.")
    _check(calibration, identity_of(model, tokenizer, sampling))
    return calibration


def identity_of(model: Kronos, tokenizer: KronosTokenizer, sampling: SamplingParams) -> ModelIdentity:
    """What a calibration of these forecasts remembers of their maker."""
    return ModelIdentity(
        model=title(model),
        sha256=weights_info(model).get("sha256"),
        tokenizer_sha256=weights_info(tokenizer).get("sha256"),
        sampling=sampling_details(sampling),
    )


def _own(model: Kronos) -> Calibration:
    """The calibration beside the weights."""
    if model.located is None or not model.unchanged:
        state = "was never saved" if model.located is None else "has changed since it was loaded"
        raise ParameterError(
            f"The model {state}, so no calibration ships with it; {_FIT}, and pass it or its path as calibration."
        )
    if model.located.calibration is None:
        raise ParameterError(
            f"No calibration ships with {title(model)}; {_FIT}, and pass it or its path as calibration, or save it as "
            f"calibration.json in {model.located.folder}."
        )
    return Calibration.load(model.located.calibration)


def _check(calibration: Calibration, identity: ModelIdentity) -> None:
    difference = calibration.identity.differs(identity)
    if not difference and calibration.identity.tokenizer_sha256 and not identity.tokenizer_sha256:
        difference = "tokenizers differ (this one was never saved, or has changed since it was loaded)"
    if difference:
        raise ParameterError(
            f"The calibration is not these forecasts': their {difference}; {_FIT}, or apply it all the same with "
            "Calibration.apply(forecast, other_model=True)."
        )


class KronosPredictor(CompatMixin):
    """A model and its tokenizer, ready to forecast.

    Args:
        model: The model; put into evaluation mode and onto the device.
        tokenizer: The tokenizer that belongs to it; likewise.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``; None takes the best there is.
        max_context: The longest window of history and forecast, in candles.
        clip: Bound of the normalised candles, in standard deviations.
        precision: ``"exact"`` (float32), or ``"fast"`` (bfloat16 where the hardware gains from it).

    Raises:
        DeviceError: If there is no such device.
        ParameterError: If the tokenizer doesn't fit the model, or a parameter is out of its range.
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
    ) -> None:
        self.least_history = model.pairing.least_history if model.pairing is not None else 1
        if max_context <= self.least_history:
            raise ParameterError(
                f"max_context is {max_context}, but must be at least {self.least_history + 1} candles."
            )
        self.device = pick_device(device)
        self.model = model.to(self.device).eval()
        self.tokenizer = tokenizer.to(self.device).eval()
        self.max_context, self.clip, self.precision = max_context, clip, precision
        _check_pairing(self.model, self.tokenizer)
        self._packed: tuple[tuple[object, ...], PackedModel] | None = None
        self.decoders()

    @classmethod
    def from_pretrained(
        cls,
        ref: str | Path = DEFAULT_MODEL,
        *,
        tokenizer: str | Path | None = None,
        device: str | torch.device | None = None,
        revision: str | None = None,
        precision: Precision = "exact",
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
    ) -> KronosPredictor:
        """Load a model with the tokenizer and the context that belong to it.

        Args:
            ref: Zoo name (``kronos-small``), hub id, or folder; the bundled model by default.
            tokenizer: Another tokenizer than the one that belongs to the model.
            device: As for the constructor.
            revision: Branch, tag or commit of the model on the hub.
            precision: As for the constructor.
            cache_dir: Where downloads are kept; the hub's own cache by default.
            local_files_only: Whether to stay offline.

        Raises:
            CheckpointError: If the weights can't be had, or nothing says which tokenizer belongs to them.
        """
        model = Kronos.from_pretrained(ref, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only)
        assert model.pairing is not None  # from_pretrained sets it on every model
        chosen = tokenizer or model.pairing.tokenizer
        if chosen is None:
            raise CheckpointError(f"Nothing says which tokenizer belongs to {ref}; give it as tokenizer=.")
        coder = KronosTokenizer.from_pretrained(chosen, cache_dir=cache_dir, local_files_only=local_files_only)
        return cls(model, coder, device, model.pairing.context, precision=precision)

    def decoders(self) -> PackedModel:
        """The networks packed for decoding, as their weights are now."""
        tensors = [t for net in (self.model, self.tokenizer) for t in (*net.parameters(), *net.buffers())]
        # Inference tensors count no versions; they can't be trained on either.
        state: tuple[object, ...] = (
            self.precision,
            self.model.s2_attention,
            *((t.data_ptr(), t.device, t.dtype, 0 if t.is_inference() else t._version) for t in tensors),
        )
        if self._packed is None or self._packed[0] != state:
            dtype = compute_dtype(self.precision, self.device, self.model.norm.weight.dtype)
            self._packed = state, PackedModel.pack(self.model, self.tokenizer, dtype)
        return self._packed[1]

    def repack(self) -> None:
        """Pack the networks again at the next forecast: needed after writes through ``.data``, which leave no trace."""
        self._packed = None

    # What users want -------------------------------------------------------

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
        calibration: Choice = None,
        market: str | None = None,
        progress: ProgressCallback | None = None,
    ) -> Forecast:
        """Sample the candles that may come next.

        Args:
            candles: The history; only its last ``max_context − horizon`` candles are used, which the result says.
            horizon: Candles to forecast, at least 1 and below ``max_context``.
            samples: Paths; those of ``sampling`` (100) by default. More paths leave the first ones as they are.
            seed: Of the draws, which are keyed by (seed, symbol, path, step); None draws one, which the result says.
            sampling: A preset's name (``default``, ``conservative``, ``aggressive``, ``published`` …) or parameters.
            lookback: Candles of history to use, at most; all that fit by default.
            timestamps: Of the future candles; the calendar tells them by default.
            calibration: Whether and by what the paths are corrected: None or False leaves them raw, True takes the
                calibration that ships with the model, else a `Calibration` or the path of one. Corrected paths depend
                on all of them, so more paths move the first ones a little too.
            market: Which of the calibration's factors to take, for example ``crypto`` or ``us_equity``; guessed from
                the calendar by default. Without a calibration nothing depends on it.
            progress: Called with the work done and all of it.

        Returns:
            All paths, valid candles each, with how they were made, and whether they are raw or calibrated.

        Raises:
            DataError: If the candles can't be used, or the calibration's file can't.
            ParameterError: If a parameter is out of its range, or the calibration is missing or another model's.
        """
        history = as_candles(candles)
        name = history.symbol or ""
        given = {} if timestamps is None else {name: as_index(timestamps, "timestamps")}
        recipe = ForecastSettings(SamplingParams.of(sampling, samples, seed), horizon, lookback)
        corrections = self.calibration_for(calibration, recipe.sampling)
        raw = self._forecast([(name, history)], recipe, given, progress)[0]
        return raw if corrections is None else calibrate_forecast(raw, corrections, market=market)

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
        calibration: Choice = None,
        market: str | Mapping[str, str] | None = None,
        progress: ProgressCallback | None = None,
    ) -> dict[str, Forecast]:
        """Sample the futures of many series, which may differ in length, interval and calendar.

        Args:
            series: A dictionary by name, a list of candles with distinct symbols, or a long frame (``unique_id``,
                ``ds``, open, …). The names key the draws: a series' paths don't depend on its company.
            horizon: As for `forecast`, and so are the others.
            samples: Paths of each.
            seed: Of the draws.
            sampling: A preset's name or parameters.
            lookback: Candles of history to use, at most.
            timestamps: Of the future candles, by name; the calendar tells those that are left out.
            calibration: Whether and by what the paths are corrected.
            market: Of all series, or by name; guessed for those that are left out.
            progress: Called with the work done and all of it.

        Returns:
            A forecast by name, in the order given.

        Raises:
            DataError: If some candles can't be used (the sentence names the series), or the calibration's file can't.
            ParameterError: If a parameter is out of its range, or the calibration is missing or another model's.
        """
        named = as_series(series)
        names = [name for name, _ in named]
        given = {name: as_index(times, f"timestamps of {name}") for name, times in (timestamps or {}).items()}
        _check_names("are timestamps", given, names)
        markets = market if isinstance(market, Mapping) else dict.fromkeys(names, market)
        _check_names("is a market", markets, names)
        recipe = ForecastSettings(SamplingParams.of(sampling, samples, seed), horizon, lookback)
        corrections = self.calibration_for(calibration, recipe.sampling)
        found = dict(zip(names, self._forecast(named, recipe, given, progress), strict=True))
        if corrections is None:
            return found
        return {name: calibrate_forecast(raw, corrections, market=markets.get(name)) for name, raw in found.items()}

    def calibration_for(
        self, calibration: Choice = True, sampling: SamplingParams | str = "default"
    ) -> Calibration | None:
        """The calibration that `forecast` would apply, checked to be this model's.

        Args:
            calibration: As for `forecast`.
            sampling: As for `forecast`; a calibration belongs to one temperature and filter.

        Raises:
            DataError: If its file is missing or damaged.
            ParameterError: If the model has none, or the one meant is another model's or sampling's.
        """
        return resolve_calibration(calibration, self.model, self.tokenizer, SamplingParams.of(sampling))

    def _forecast(
        self,
        named: Sequence[tuple[str, Candles]],
        recipe: ForecastSettings,
        given: Mapping[str, pd.DatetimeIndex],
        progress: ProgressCallback | None,
    ) -> list[Forecast]:
        check_horizon(recipe.horizon, self.max_context, self.least_history)
        seed = secrets.randbelow(2**31) if recipe.sampling.seed is None else recipe.sampling.seed
        used = [self._used(name, candles, recipe) for name, candles in named]
        times = [resolve_future(name, history, recipe.horizon, given.get(name)) for name, history in named]
        jobs = [SeriesInput(name, self._prepare(h, t)) for (name, _), h, t in zip(named, used, times, strict=True)]
        decoders = self.decoders()
        machinery = PredictorInfo(
            self.model, self.tokenizer, self.max_context, self.precision, decoders.model.dtype, self.device
        )
        sampled = decode_blocks(decoders, jobs, recipe.sampling, seed, progress)
        forecasts = []
        for (name, history), rows, time, one in zip(named, used, times, sampled, strict=True):
            if not rows.has_volume:
                one.paths[..., 4:] = 0.0
            valid, mended = repair_candles(one.paths)
            made = build_metadata(machinery, recipe, (name, history), len(rows), time, seed)
            made = made.with_details(level_error=_level_error(one.last, history))
            forecasts.append(Forecast(valid, time.times, history, made, mended))
        return forecasts

    def _used(self, name: str, candles: Candles, recipe: ForecastSettings) -> Candles:
        """The end of the history that fits the context together with the horizon."""
        self._check_history(len(candles), name)
        least = max(2, self.least_history)
        if recipe.lookback is not None and recipe.lookback < least:
            raise ParameterError(f"lookback is {recipe.lookback}, but must be at least {least} candles.")
        most = self.max_context - recipe.horizon
        return candles.tail(max(2, most if recipe.lookback is None else min(most, recipe.lookback)))

    def _prepare(self, history: Candles, time: FutureTimes) -> ModelInput:
        values = history.frame[list(COLUMNS)].to_numpy(dtype=np.float64)
        x, mean, scale = normalise(values, self.clip, normalisation=self.tokenizer.normalisation)
        return ModelInput(x, time_features(history.index), time_features(time.times), mean, scale, time.times)


def _check_names(what: str, given: Mapping[str, object], names: Sequence[str]) -> None:
    unknown = sorted(given.keys() - set(names))
    if unknown:
        raise ParameterError(f"There {what} for '{unknown[0]}', but no series of that name.")


def _level_error(last: NDArray[np.float64], history: Candles) -> float | None:
    """Log of the last close as the tokenizer gives it back, over what it was; None if it gives back no price."""
    close, known = float(last[COLUMNS.index("close")]), float(history.frame["close"].iloc[-1])
    return math.log(close / known) if close > 0 else None


def _check_pairing(model: Kronos, tokenizer: KronosTokenizer) -> None:
    """Refuse the tokenizer of another published model: its tokens have as many bits, but mean other candles."""
    expected = find(model.pairing.tokenizer) if model.pairing and model.pairing.tokenizer else None
    found = tokenizer.located.entry if tokenizer.located else None
    if expected and found and expected.name != found.name and model.pairing and model.pairing.basis != "guessed":
        raise ParameterError(f"This model was trained with {expected.title}, not with {found.title}; load that one.")
