"""`KronosPredictor`: forecasts from candles.

Notable here:
- `predict`, `predict_batch` and `generate` are the published methods: same signatures, same draws, averaged paths;
- `forecast` and `forecast_many` are what users want: every path kept, reproducible by seed whatever the batch, valid
  candles, timestamps from the calendar, raw or calibrated by one argument, and all that made the result travelling
  with it;
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

from kronos.calendars import FutureTimes, future_times
from kronos.calibration import Calibration, calibrated
from kronos.candles import COLUMNS, Candles, infer_interval
from kronos.errors import CheckpointError, DataError, ParameterError
from kronos.forecasts import Forecast, mend
from kronos.inference.blocks import Job, decode_blocks
from kronos.inference.calibrating import Choice, choose_calibration
from kronos.inference.devices import Precision, compute_dtype, pick_device
from kronos.inference.inputs import NamedCandles, as_candles, as_series, history_index, resolve_future
from kronos.inference.making import Machinery, Recipe, describe_made
from kronos.inference.normalising import (
    Prepared,
    Timestamps,
    as_index,
    normalise,
    prepare_published,
    stamp_features,
)
from kronos.inference.progress import Progress, progress_bar
from kronos.inference.published import Decoders, check_horizon, generate_paths, make_batch
from kronos.inference.sampling import SamplingParams
from kronos.nn import Kronos, KronosTokenizer
from kronos.zoo import DEFAULT_MODEL, find


class KronosPredictor:
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
        if max_context < 2:
            raise ParameterError(f"max_context is {max_context}, but must be at least 2 candles.")
        self.device = pick_device(device)
        self.model = model.to(self.device).eval()
        self.tokenizer = tokenizer.to(self.device).eval()
        self.max_context, self.clip, self.precision = max_context, clip, precision
        _check_pairing(self.model, self.tokenizer)
        self._packed: tuple[tuple[object, ...], Decoders] | None = None
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

    def decoders(self) -> Decoders:
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
            self._packed = state, Decoders.pack(self.model, self.tokenizer, dtype)
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
        progress: Progress | None = None,
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
        recipe = Recipe(SamplingParams.of(sampling, samples, seed), horizon, lookback)
        corrections = self.calibration_for(calibration, recipe.sampling)
        raw = self._forecast([(name, history)], recipe, given, progress)[0]
        return raw if corrections is None else calibrated(raw, corrections, market=market)

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
        progress: Progress | None = None,
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
        recipe = Recipe(SamplingParams.of(sampling, samples, seed), horizon, lookback)
        corrections = self.calibration_for(calibration, recipe.sampling)
        found = dict(zip(names, self._forecast(named, recipe, given, progress), strict=True))
        if corrections is None:
            return found
        return {name: calibrated(raw, corrections, market=markets.get(name)) for name, raw in found.items()}

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
        return choose_calibration(calibration, self.model, self.tokenizer, SamplingParams.of(sampling))

    def _forecast(
        self,
        named: Sequence[tuple[str, Candles]],
        recipe: Recipe,
        given: Mapping[str, pd.DatetimeIndex],
        progress: Progress | None,
    ) -> list[Forecast]:
        check_horizon(recipe.horizon, self.max_context)
        seed = secrets.randbelow(2**31) if recipe.sampling.seed is None else recipe.sampling.seed
        used = [self._used(name, candles, recipe) for name, candles in named]
        times = [resolve_future(name, history, recipe.horizon, given.get(name)) for name, history in named]
        jobs = [Job(name, self._prepare(h, t)) for (name, _), h, t in zip(named, used, times, strict=True)]
        decoders = self.decoders()
        machinery = Machinery(
            self.model, self.tokenizer, self.max_context, self.precision, decoders.model.dtype, self.device
        )
        sampled = decode_blocks(decoders, jobs, recipe.sampling, seed, progress)
        forecasts = []
        for (name, history), rows, time, one in zip(named, used, times, sampled, strict=True):
            if not rows.has_volume:
                one.paths[..., 4:] = 0.0
            valid, mended = mend(one.paths)
            made = describe_made(machinery, recipe, (name, history), len(rows), time, seed)
            made = made.with_details(level_error=_level_error(one.last, history))
            forecasts.append(Forecast(valid, time.times, history, made, mended))
        return forecasts

    def _used(self, name: str, candles: Candles, recipe: Recipe) -> Candles:
        """The end of the history that fits the context together with the horizon."""
        if len(candles) < 2:
            raise DataError(f"{name or 'The history'} has {len(candles)} candles, but a forecast needs at least 2.")
        if recipe.lookback is not None and recipe.lookback < 2:
            raise ParameterError(f"lookback is {recipe.lookback}, but must be at least 2 candles.")
        most = self.max_context - recipe.horizon
        return candles.tail(max(2, most if recipe.lookback is None else min(most, recipe.lookback)))

    def _prepare(self, history: Candles, time: FutureTimes) -> Prepared:
        x, mean, scale = normalise(history.frame[list(COLUMNS)].to_numpy(dtype=np.float64), self.clip)
        return Prepared(x, stamp_features(history.index), stamp_features(time.times), mean, scale, time.times)

    # As the published system has it ----------------------------------------

    def predict(
        self,
        df: pd.DataFrame,
        x_timestamp: Timestamps | None = None,
        y_timestamp: Timestamps | None = None,
        pred_len: int = 24,
        T: float = 1.0,
        top_k: int = 0,
        top_p: float = 0.9,
        sample_count: int = 1,
        verbose: bool = True,
        *,
        strategy: str | None = None,
    ) -> pd.DataFrame:
        """Forecast as the published method: sample paths, averaged.

        Args:
            df: Columns open, high, low, close, and optionally volume and amount. All rows are normalised over and
                tokenised; each step sees at most the last ``max_context``.
            x_timestamp: A time for each row; the frame's index by default.
            y_timestamp: A time for each future candle; the calendar tells them by default.
            pred_len: Candles to forecast, below ``max_context``.
            T: Temperature.
            top_k: Where above 0, keep that many tokens (and ignore ``top_p``).
            top_p: Where below 1, keep tokens up to that mass.
            sample_count: Paths to average.
            verbose: Whether to show progress, on stderr, where a person watches.
            strategy: ``default``, ``conservative`` or ``aggressive``: sets T, top_k and top_p by name.

        Returns:
            A float32 frame of the six columns, indexed by ``y_timestamp``. Averages are no candles: `forecast` keeps
            the paths.

        Raises:
            DataError: If the frame can't be used.
            ParameterError: If a parameter is out of its range.
        """
        params = _published_params(T, top_k, top_p, sample_count, strategy)
        prepared = self.preprocess(df, x_timestamp, y_timestamp, pred_len)
        return self._predict([prepared], params, verbose)[0]

    def predict_batch(
        self,
        df_list: Sequence[pd.DataFrame],
        x_timestamp_list: Sequence[Timestamps] | None = None,
        y_timestamp_list: Sequence[Timestamps] | None = None,
        pred_len: int = 24,
        T: float = 1.0,
        top_k: int = 0,
        top_p: float = 0.9,
        sample_count: int = 1,
        verbose: bool = True,
        *,
        strategy: str | None = None,
    ) -> list[pd.DataFrame]:
        """Forecast several series as the published method of this name; they may differ in length.

        Series of one length are drawn together, as published; those of other lengths follow, length by length in order
        of first appearance. Arguments are lists of those of `predict`.

        Raises:
            DataError: If a frame can't be used.
            ParameterError: If the lists differ in length or a parameter is out of its range.
        """
        count = len(df_list)
        xs = [None] * count if x_timestamp_list is None else list(x_timestamp_list)
        ys = [None] * count if y_timestamp_list is None else list(y_timestamp_list)
        if not count == len(xs) == len(ys):
            raise ParameterError(
                f"There are {count} frames, {len(xs)} x_timestamps and {len(ys)} y_timestamps; give as many of each."
            )
        params = _published_params(T, top_k, top_p, sample_count, strategy)
        prepared = [self.preprocess(df, x, y, pred_len) for df, x, y in zip(df_list, xs, ys, strict=True)]
        return self._predict(prepared, params, verbose)

    def preprocess(
        self,
        df: pd.DataFrame,
        x_timestamp: Timestamps | None = None,
        y_timestamp: Timestamps | None = None,
        pred_len: int | None = None,
    ) -> Prepared:
        """Normalise a history and read its calendar features: arrays, stamps and the statistics.

        Args:
            df: As for `predict`, and so are the others.
            x_timestamp: A time for each row.
            y_timestamp: A time for each future candle.
            pred_len: How many there are; the length of ``y_timestamp`` by default.

        Raises:
            DataError: If the frame can't be used.
            ParameterError: If lengths contradict each other.
        """
        history = history_index(df, x_timestamp)
        if y_timestamp is None:
            if pred_len is None:
                raise ParameterError("Give y_timestamp, or pred_len to have the calendar tell it.")
            check_horizon(pred_len, self.max_context)
            times = future_times(history, infer_interval(history), pred_len).times
        else:
            times = as_index(y_timestamp, "y_timestamp")
        if pred_len is not None and len(times) != pred_len:
            raise ParameterError(f"y_timestamp has {len(times)} times for pred_len {pred_len}; give one for each.")
        return prepare_published(df, history, times, self.clip)

    def postprocess(self, values: NDArray[np.float32], prepared: Prepared) -> pd.DataFrame:
        """A frame of generated values ``[H, 6]``: de-normalised, float32, indexed by the future times."""
        restored = prepared.restore(values)
        return pd.DataFrame(restored.astype(np.float32), columns=list(COLUMNS), index=prepared.y_timestamp)

    def generate(
        self,
        x: NDArray[np.float32],
        x_stamp: NDArray[np.int64],
        y_stamp: NDArray[np.int64],
        pred_len: int,
        T: float,
        top_k: int,
        top_p: float,
        sample_count: int,
        verbose: bool = True,
    ) -> NDArray[np.float32]:
        """Sample and average normalised series of one length.

        Args:
            x: Normalised candles ``[B, T, 6]``.
            x_stamp: Calendar features ``[B, T, 5]``.
            y_stamp: Of the future ``[B, pred_len, 5]``.
            pred_len: Steps to generate.
            T: Temperature.
            top_k: Where above 0, keep that many tokens (and ignore ``top_p``).
            top_p: Where below 1, keep tokens up to that mass.
            sample_count: Paths to average.
            verbose: Whether to show progress, on stderr, where a person watches.

        Returns:
            Normalised averages ``[B, pred_len, 6]``.

        Raises:
            ParameterError: If a parameter is out of its range.
        """
        past, stamps, future = (torch.as_tensor(array, device=self.device) for array in (x, x_stamp, y_stamp))
        batch = make_batch(past, stamps, future, pred_len, self.clip)
        params = SamplingParams(T, top_k, top_p, sample_count)
        with progress_bar(verbose, "forecast") as progress:
            _, own = generate_paths(self.decoders(), batch, params, self.max_context, progress)
        averaged: NDArray[np.float32] = own.mean(dim=1).float().cpu().numpy()
        return averaged

    def _predict(self, prepared: Sequence[Prepared], params: SamplingParams, verbose: bool) -> list[pd.DataFrame]:
        """Frames in the order given; series of one length are generated together."""
        groups: dict[tuple[int, int], list[int]] = {}
        for i, one in enumerate(prepared):
            groups.setdefault((len(one.x), len(one.y_stamp)), []).append(i)
        frames: dict[int, pd.DataFrame] = {}
        for (_, horizon), members in groups.items():
            x, x_stamp, y_stamp = (
                np.stack([getattr(prepared[i], name) for i in members]) for name in ("x", "x_stamp", "y_stamp")
            )
            sampling = (params.temperature, params.top_k, params.top_p, params.samples)
            values = self.generate(x, x_stamp, y_stamp, horizon, *sampling, verbose)
            frames |= {i: self.postprocess(v, prepared[i]) for i, v in zip(members, values, strict=True)}
        return [frames[i] for i in range(len(prepared))]


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


def _published_params(T: float, top_k: int, top_p: float, samples: int, strategy: str | None) -> SamplingParams:
    if strategy is None:
        return SamplingParams(T, top_k, top_p, samples)
    if strategy not in ("default", "conservative", "aggressive"):
        raise ParameterError(f"strategy is default, conservative or aggressive, not '{strategy}'.")
    return SamplingParams.of(strategy, samples)
