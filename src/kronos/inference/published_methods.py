"""The published predictor's methods: averaged paths, drawn from torch's own generator as published.

They are a class of their own, which `KronosPredictor` is a kind of: whoever wants every path needs none of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from kronos.calendars import future_times
from kronos.candles import COLUMNS, infer_interval
from kronos.errors import DataError, ParameterError
from kronos.inference.inputs import history_index
from kronos.inference.normalising import Prepared, Timestamps, as_index, prepare_published
from kronos.inference.progress import progress_bar
from kronos.inference.published import Decoders, check_horizon, generate_paths, make_batch
from kronos.inference.sampling import SamplingParams
from kronos.nn import KronosTokenizer


class PublishedMethods(ABC):
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
    def decoders(self) -> Decoders:
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


def _published_params(T: float, top_k: int, top_p: float, samples: int, strategy: str | None) -> SamplingParams:
    if strategy is None:
        return SamplingParams(T, top_k, top_p, samples)
    if strategy not in ("default", "conservative", "aggressive"):
        raise ParameterError(f"strategy is default, conservative or aggressive, not '{strategy}'.")
    return SamplingParams.of(strategy, samples)
