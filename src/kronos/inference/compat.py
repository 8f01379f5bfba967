"""The published interface: averaged paths, sampled with torch's global generator exactly as published.

`KronosPredictor` inherits it from `CompatMixin`; its own methods `forecast` and `forecast_many` keep every path.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from kronos.calendars import future_times
from kronos.candles import COLUMNS, infer_interval
from kronos.errors import DataError, DeviceError, ParameterError
from kronos.inference.devices import is_out_of_memory
from kronos.inference.engine import CHANNELS, PackedModel, Prompt, Rollout, Tokens, check_horizon
from kronos.inference.sampling import SamplingParams, TorchSampler
from kronos.nn import Kronos, KronosTokenizer
from kronos.nn.model import CALENDAR_SIZES
from kronos.preprocessing import ModelInput, Timestamps, as_index, history_index, prepare_published
from kronos.progress import ProgressCallback, progress_bar


@dataclass(frozen=True, slots=True)
class PublishedBatch:
    """Normalised series of one length: ``x [B, T, 6]``, ``x_stamp [B, T, 5]``, ``y_stamp [B, H, 5]``."""

    x: Tensor
    x_stamp: Tensor
    y_stamp: Tensor

    def __post_init__(self) -> None:
        B, T = self.x.shape[:2]
        H = self.y_stamp.shape[1]
        for name, value, shape in (
            ("x", self.x, (B, T, CHANNELS)),
            ("x_stamp", self.x_stamp, (B, T, len(CALENDAR_SIZES))),
            ("y_stamp", self.y_stamp, (B, H, len(CALENDAR_SIZES))),
        ):
            if tuple(value.shape) != shape:
                raise ParameterError(f"Invalid shape {tuple(value.shape)} of {name}: it must be {shape}.")
        if not bool(self.x.isfinite().all()):
            raise DataError("x holds NaN or infinite values: fill or drop such rows.")


def make_batch(x: Tensor, x_stamp: Tensor, y_stamp: Tensor, horizon: int, clip: float) -> PublishedBatch:
    """Make a batch of these arrays: candles clipped, future stamps cut to ``horizon`` steps.

    Raises:
        DataError: If ``x`` holds NaN or infinite values.
        ParameterError: If shapes do not match, or there are too few future stamps.
    """
    if y_stamp.shape[1] < horizon:
        raise ParameterError(f"y_stamp has {y_stamp.shape[1]} rows for pred_len {horizon}: pass one per candle.")
    return PublishedBatch(x.clamp(-clip, clip), x_stamp.long(), y_stamp.long()[:, :horizon])


@torch.inference_mode()
def generate_paths(
    packed: PackedModel,
    batch: PublishedBatch,
    params: SamplingParams,
    context: int,
    progress: ProgressCallback | None = None,
) -> tuple[Tensor, Tensor]:
    """Sample paths as published: the whole history tokenised, a sliding window, torch's global generator.

    Args:
        packed: The packed networks.
        batch: Series to continue.
        params: Temperature, filters, samples.
        context: Longest window, in candles.
        progress: Called with the number of finished steps and their total.

    Returns:
        The last min(T + H, context) candles, normalised: the history's part ``[B, P, 6]``, which samples share, and
        the generated part ``[B, S, H, 6]``.

    Raises:
        ParameterError: If the horizon leaves no room for history.
        DeviceError: If memory runs out.
    """
    B, T = batch.x.shape[:2]
    H = batch.y_stamp.shape[1]
    check_horizon(H, context)
    try:
        tokens = packed.tokenizer.encode(batch.x)
        lengths = torch.full((B,), T, device=batch.x.device)
        prompt = Prompt(tokens, lengths, batch.x_stamp, batch.y_stamp)
        own = Rollout(packed.model, prompt, params.samples, context).generate(TorchSampler(params), progress)
        kept = min(T, context - H)
        window = Tokens(tokens.s1[:, T - kept :], tokens.s2[:, T - kept :])
        return packed.tokenizer.decode(window, torch.full_like(lengths, kept), own)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise DeviceError(f"Out of memory with {B} series of {params.samples} samples: reduce either.") from error


def auto_regressive_inference(
    tokenizer: KronosTokenizer,
    model: Kronos,
    x: Tensor,
    x_stamp: Tensor,
    y_stamp: Tensor,
    max_context: int,
    pred_len: int,
    clip: float = 5,
    T: float = 1.0,
    top_k: int = 0,
    top_p: float = 0.99,
    sample_count: int = 5,
    verbose: bool = False,
) -> NDArray[np.float32]:
    """Average sampled continuations of normalised candles, like the published function of this name.

    Args:
        tokenizer: The tokenizer.
        model: The model, on the same device.
        x: Normalised candles ``[B, T, 6]``.
        x_stamp: Calendar features of the history ``[B, T, 5]``.
        y_stamp: Calendar features of the forecast's steps ``[B, pred_len, 5]``.
        max_context: Longest window, in candles.
        pred_len: Candles to forecast.
        clip: Bound of the normalised candles.
        T: Temperature.
        top_k: If above 0, keep this many tokens and ignore ``top_p``.
        top_p: If below 1, keep tokens up to this probability mass.
        sample_count: Paths to average.
        verbose: Show a progress bar on stderr if it is a terminal.

    Returns:
        ``[B, min(T + pred_len, max_context), 6]``: the reconstructed end of the history, and the forecast.

    Raises:
        ParameterError: If the horizon leaves no room for history, or a parameter is out of range.
    """
    packed = PackedModel.pack(model, tokenizer, model.norm.weight.dtype)
    device = model.norm.weight.device
    batch = make_batch(x.to(device), x_stamp.to(device), y_stamp.to(device), pred_len, clip)
    params = SamplingParams(T, top_k, top_p, sample_count)
    with progress_bar("forecast", enabled=verbose) as progress:
        past, own = generate_paths(packed, batch, params, max_context, progress)
    return torch.cat((past, own.mean(dim=1)), dim=1).float().cpu().numpy()


def top_k_top_p_filtering(
    logits: Tensor,
    top_k: int = 0,
    top_p: float = 1.0,
    filter_value: float = -float("inf"),
    min_tokens_to_keep: int = 1,
) -> Tensor:
    """Filter logits ``[B, V]`` like the published function of this name, without changing the input.

    With ``top_k`` above 0 the k largest are kept and ``top_p`` is ignored. Otherwise, with ``top_p`` below 1, tokens
    are dropped once more probable ones exceed this probability mass.
    """
    if top_k > 0:
        k = min(max(top_k, min_tokens_to_keep), logits.shape[-1])
        return logits.masked_fill(logits < logits.topk(k, dim=-1).values[..., -1:], filter_value)
    if top_p >= 1.0:
        return logits
    ranked, order = logits.sort(dim=-1, descending=True)
    mass = ranked.softmax(-1).cumsum(-1)
    dropped = torch.cat((torch.zeros_like(mass[..., :1]), mass[..., :-1]), dim=-1) > top_p
    dropped[..., :min_tokens_to_keep] = False
    return logits.masked_fill(torch.zeros_like(dropped).scatter(-1, order, dropped), filter_value)


def sample_from_logits(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    sample_logits: bool = True,
) -> Tensor:
    """Sample ids ``[B, 1]`` from logits ``[B, V]``; without ``sample_logits``, take the most probable ones."""
    logits = logits / temperature
    if top_k is not None or top_p is not None:
        logits = top_k_top_p_filtering(logits, top_k=top_k or 0, top_p=1.0 if top_p is None else top_p)
    probabilities = logits.softmax(-1)
    return torch.multinomial(probabilities, 1) if sample_logits else probabilities.topk(1, dim=-1).indices


class CompatMixin(ABC):
    """Methods of the published predictor, with the published signatures.

    Attributes:
        device: Device of the networks.
        max_context: Longest window of history and forecast together, in candles.
        least_history: Candles of history that the model needs.
        clip: Bound of the normalised candles, in standard deviations.
        tokenizer: The tokenizer; its `normalisation` applies to the candles.
    """

    device: torch.device
    max_context: int
    least_history: int
    clip: float
    tokenizer: KronosTokenizer

    def _check_history(self, rows: int, name: str = "") -> None:
        """Validate that the model was trained on histories this short.

        Raises:
            DataError: If it was not.
        """
        needed = max(2, self.least_history)
        if rows < needed:
            raise DataError(f"{name or 'The history'} has {rows} candles: a forecast needs at least {needed}.")

    @abstractmethod
    def packed_model(self) -> PackedModel:
        """The networks packed for decoding, with their current weights."""

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
        """Forecast with the published method: the average of sample paths.

        Args:
            df: Columns open, high, low, close, and optionally volume and amount. All rows are normalised together and
                tokenised; each step sees at most the last ``max_context``.
            x_timestamp: Timestamp of each row; by default the frame's index.
            y_timestamp: Timestamp of each future candle; by default from the calendar.
            pred_len: Candles to forecast, below ``max_context``.
            T: Temperature.
            top_k: If above 0, keep this many tokens and ignore ``top_p``.
            top_p: If below 1, keep tokens up to this probability mass.
            sample_count: Paths to average.
            verbose: Show a progress bar on stderr if it is a terminal.
            strategy: ``default``, ``conservative`` or ``aggressive``: sets T, top_k and top_p by name.

        Returns:
            A float32 frame of the six columns, indexed by ``y_timestamp``. Averages of candles need not be valid
            candles; `forecast` returns the paths.

        Raises:
            DataError: If the frame cannot be used.
            ParameterError: If a parameter is out of range.
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
        """Forecast several series with the published method; they may differ in length.

        Series of one length are sampled together, as published; other lengths follow in order of first appearance.
        The arguments are lists of those of `predict`.

        Raises:
            DataError: If a frame cannot be used.
            ParameterError: If the lists differ in length or a parameter is out of range.
        """
        count = len(df_list)
        xs = [None] * count if x_timestamp_list is None else list(x_timestamp_list)
        ys = [None] * count if y_timestamp_list is None else list(y_timestamp_list)
        if not count == len(xs) == len(ys):
            raise ParameterError(
                f"Got {count} frames, {len(xs)} x_timestamps and {len(ys)} y_timestamps: pass as many of each."
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
    ) -> ModelInput:
        """Normalise a history and compute its calendar features.

        Args:
            df: As for `predict`.
            x_timestamp: Timestamp of each row, as for `predict`.
            y_timestamp: Timestamp of each future candle, as for `predict`.
            pred_len: Number of future candles; by default the length of ``y_timestamp``.

        Raises:
            DataError: If the frame cannot be used.
            ParameterError: If lengths do not match.
        """
        history = history_index(df, x_timestamp)
        if len(history) >= 2:  # prepare_published reports shorter ones
            self._check_history(len(history))
        if y_timestamp is None:
            if pred_len is None:
                raise ParameterError("Pass y_timestamp, or pred_len to derive it from the calendar.")
            check_horizon(pred_len, self.max_context)
            times = future_times(history, infer_interval(history), pred_len).times
        else:
            times = as_index(y_timestamp, "y_timestamp")
        if pred_len is not None and len(times) != pred_len:
            raise ParameterError(f"y_timestamp has {len(times)} rows for pred_len {pred_len}: pass one per candle.")
        return prepare_published(df, history, times, self.clip, self.tokenizer.normalisation)

    def postprocess(self, values: NDArray[np.float32], prepared: ModelInput) -> pd.DataFrame:
        """Undo the normalisation of generated values ``[H, 6]``: a float32 frame, indexed by the future timestamps."""
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
            x_stamp: Calendar features of the history ``[B, T, 5]``.
            y_stamp: Calendar features of the forecast's steps ``[B, pred_len, 5]``.
            pred_len: Candles to forecast.
            T: Temperature.
            top_k: If above 0, keep this many tokens and ignore ``top_p``.
            top_p: If below 1, keep tokens up to this probability mass.
            sample_count: Paths to average.
            verbose: Show a progress bar on stderr if it is a terminal.

        Returns:
            Normalised averages ``[B, pred_len, 6]``.

        Raises:
            ParameterError: If a parameter is out of range.
        """
        past, stamps, future = (torch.as_tensor(array, device=self.device) for array in (x, x_stamp, y_stamp))
        batch = make_batch(past, stamps, future, pred_len, self.clip)
        params = SamplingParams(T, top_k, top_p, sample_count)
        with progress_bar("forecast", enabled=verbose) as progress:
            _, own = generate_paths(self.packed_model(), batch, params, self.max_context, progress)
        averaged: NDArray[np.float32] = own.mean(dim=1).float().cpu().numpy()
        return averaged

    def _predict(self, prepared: Sequence[ModelInput], params: SamplingParams, verbose: bool) -> list[pd.DataFrame]:
        """Forecast in the order given; series of one length are sampled together."""
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


def _published_params(T: float, top_k: int, top_p: float, samples: int, strategy: str | None) -> SamplingParams:
    if strategy is None:
        return SamplingParams(T, top_k, top_p, samples)
    if strategy not in ("default", "conservative", "aggressive"):
        raise ParameterError(f"Invalid strategy '{strategy}': choose default, conservative or aggressive.")
    return SamplingParams.resolve(strategy, samples)
