"""The published predictor's methods: averaged paths, drawn from torch's own generator as published.

They are a class of their own, which `KronosPredictor` is a kind of: whoever wants every path needs none of them.
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
from kronos.inference.engine import CHANNELS, PackedModel, Prompt, Rollout, Tokens, TokenSampler, check_horizon
from kronos.inference.inputs import history_index
from kronos.inference.sampling import ProgressSampler, SamplingParams, TorchSampler
from kronos.nn import Kronos, KronosTokenizer
from kronos.nn.model import CALENDAR_SIZES
from kronos.preprocessing import ModelInput, Timestamps, as_index, prepare_published
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
                raise ParameterError(f"{name} has the shape {tuple(value.shape)}, but should have {shape}.")
        if not bool(self.x.isfinite().all()):
            raise DataError("x holds values that are no numbers; fill or drop such rows first.")


def make_batch(x: Tensor, x_stamp: Tensor, y_stamp: Tensor, horizon: int, clip: float) -> PublishedBatch:
    """A batch of those arrays, clipped, its future cut to ``horizon`` steps.

    Raises:
        DataError: If ``x`` holds NaN or infinities.
        ParameterError: If shapes contradict each other, or the future has too few stamps.
    """
    if y_stamp.shape[1] < horizon:
        raise ParameterError(f"y_stamp has {y_stamp.shape[1]} rows for pred_len {horizon}; give one for each candle.")
    return PublishedBatch(x.clamp(-clip, clip), x_stamp.long(), y_stamp.long()[:, :horizon])


@torch.inference_mode()
def generate_paths(
    decoders: PackedModel,
    batch: PublishedBatch,
    params: SamplingParams,
    context: int,
    progress: ProgressCallback | None = None,
) -> tuple[Tensor, Tensor]:
    """Generate as the published system does: whole history tokenised, window sliding, global generator.

    Args:
        decoders: The packed networks.
        batch: What to continue.
        params: Temperature, filters, samples.
        context: The longest window, in candles.
        progress: Called with the steps done and their number.

    Returns:
        Of the last min(T + H, context) candles, normalised: the history's part ``[B, P, 6]``, which all samples share,
        and the generated part ``[B, S, H, 6]``.

    Raises:
        ParameterError: If the horizon leaves no room for history.
        DeviceError: If memory runs out.
    """
    B, T = batch.x.shape[:2]
    H = batch.y_stamp.shape[1]
    check_horizon(H, context)
    choose: TokenSampler = TorchSampler(params)
    if progress is not None:
        choose = ProgressSampler(choose, H, progress)
    try:
        tokens = decoders.tokenizer.encode(batch.x)
        lengths = torch.full((B,), T, device=batch.x.device)
        prompt = Prompt(tokens, lengths, batch.x_stamp, batch.y_stamp)
        own = Rollout(decoders.model, prompt, params.samples, context).run(choose)
        kept = min(T, context - H)
        window = Tokens(tokens.s1[:, T - kept :], tokens.s2[:, T - kept :])
        return decoders.tokenizer.decode(window, torch.full_like(lengths, kept), own)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise DeviceError(
            f"Memory ran out with {B} series of {params.samples} samples; ask for fewer at once."
        ) from error


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
    """Average sampled continuations of normalised candles, as the published function of this name.

    Args:
        tokenizer: The tokenizer.
        model: The model, on the same device.
        x: Normalised candles ``[B, T, 6]``.
        x_stamp: Their calendar features ``[B, T, 5]``.
        y_stamp: Calendar features of the future ``[B, pred_len, 5]``.
        max_context: The longest window, in candles.
        pred_len: Steps to generate.
        clip: Bound of the normalised candles.
        T: Temperature.
        top_k: Where above 0, keep that many tokens (and ignore ``top_p``).
        top_p: Where below 1, keep tokens up to that mass.
        sample_count: Paths to average.
        verbose: Whether to show progress, on stderr, where a person watches.

    Returns:
        ``[B, min(T + pred_len, max_context), 6]``: the end of the history, reconstructed, and the forecast.

    Raises:
        ParameterError: If the horizon leaves no room for history or a parameter is out of its range.
    """
    decoders = PackedModel.pack(model, tokenizer, model.norm.weight.dtype)
    device = model.norm.weight.device
    batch = make_batch(x.to(device), x_stamp.to(device), y_stamp.to(device), pred_len, clip)
    params = SamplingParams(T, top_k, top_p, sample_count)
    with progress_bar(verbose, "forecast") as progress:
        past, own = generate_paths(decoders, batch, params, max_context, progress)
    return torch.cat((past, own.mean(dim=1)), dim=1).float().cpu().numpy()


def top_k_top_p_filtering(
    logits: Tensor,
    top_k: int = 0,
    top_p: float = 1.0,
    filter_value: float = -float("inf"),
    min_tokens_to_keep: int = 1,
) -> Tensor:
    """Filter logits ``[B, V]`` as the published function of this name; the input is not changed.

    With ``top_k`` above 0 the k largest stay and ``top_p`` is ignored; otherwise with ``top_p`` below 1 tokens go whose
    predecessors, in order of probability, exceed that mass.
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
    """Draw ids ``[B, 1]`` from logits ``[B, V]``, or take the most probable where not ``sample_logits``."""
    logits = logits / temperature
    if top_k is not None or top_p is not None:
        logits = top_k_top_p_filtering(logits, top_k=top_k or 0, top_p=1.0 if top_p is None else top_p)
    probabilities = logits.softmax(-1)
    return torch.multinomial(probabilities, 1) if sample_logits else probabilities.topk(1, dim=-1).indices


class CompatMixin(ABC):
    """`predict`, `predict_batch` and what they consist of, with the published signatures.

    Attributes:
        device: Where the networks compute.
        max_context: The longest window of history and forecast, in candles.
        least_history: Candles of history that the model needs.
        clip: Bound of the normalised candles, in standard deviations.
        tokenizer: What turns candles into tokens, and says how they are normalised.
    """

    device: torch.device
    max_context: int
    least_history: int
    clip: float
    tokenizer: KronosTokenizer

    def _check_history(self, rows: int, name: str = "") -> None:
        """Refuse a history of which the model was not trained to tell anything.

        Raises:
            DataError: Then.
        """
        least = max(2, self.least_history)
        if rows < least:
            raise DataError(f"{name or 'The history'} has {rows} candles, but a forecast needs at least {least}.")

    @abstractmethod
    def decoders(self) -> PackedModel:
        """The networks packed for decoding, as their weights are now."""

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
    ) -> ModelInput:
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
        if len(history) >= 2:  # of fewer it is said what they lack themselves
            self._check_history(len(history))
        if y_timestamp is None:
            if pred_len is None:
                raise ParameterError("Give y_timestamp, or pred_len to have the calendar tell it.")
            check_horizon(pred_len, self.max_context)
            times = future_times(history, infer_interval(history), pred_len).times
        else:
            times = as_index(y_timestamp, "y_timestamp")
        if pred_len is not None and len(times) != pred_len:
            raise ParameterError(f"y_timestamp has {len(times)} times for pred_len {pred_len}; give one for each.")
        return prepare_published(df, history, times, self.clip, self.tokenizer.normalisation)

    def postprocess(self, values: NDArray[np.float32], prepared: ModelInput) -> pd.DataFrame:
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

    def _predict(self, prepared: Sequence[ModelInput], params: SamplingParams, verbose: bool) -> list[pd.DataFrame]:
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


def _published_params(T: float, top_k: int, top_p: float, samples: int, strategy: str | None) -> SamplingParams:
    if strategy is None:
        return SamplingParams(T, top_k, top_p, samples)
    if strategy not in ("default", "conservative", "aggressive"):
        raise ParameterError(f"strategy is default, conservative or aggressive, not '{strategy}'.")
    return SamplingParams.of(strategy, samples)
