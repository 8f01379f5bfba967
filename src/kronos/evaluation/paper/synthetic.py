"""The paper's task on generated sequences.

- *discriminative error*: share of unseen sequences, half of them real, that an LSTM misclassifies; 0.5 is the best.
- *TSTR* (train on synthetic, test on real): an LSTM learns to forecast from generated sequences alone; IC and RankIC of
  its forecasts of prices in real sequences, window by window as in the price task.

All generators start from the same real contexts. A training context has two generated sequences: the classifier is
trained with the first one next to the real sequence, the forecaster with both, so that it has as many sequences as in
the paper without later contexts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kronos.baselines import BASELINES
from kronos.candles import PRICES
from kronos.evaluation.forecasters import Forecaster
from kronos.evaluation.paper.classifiers import EpochCallback, classify, continuation
from kronos.evaluation.paper.forecasting import (
    GENERATORS,
    ForecastSpec,
    OriginSet,
    OriginTimes,
    actual_candles,
    available,
    forecast_origins,
    whole_paths,
)
from kronos.evaluation.paper.results import TaskContext, TaskResult, TaskRow, TaskStatistic, mean_figure, within_windows
from kronos.evaluation.paper.settings import SEQUENCES, Windows, tstr_windows
from kronos.metrics import proportion
from kronos.normalisation import fit_scaler
from kronos.typing import FloatArray, IntArray

REAL = "real"
CLIP = 5.0  # standard deviations, as for the model's input
MIN_SEQUENCES = 20  # of each kind, on each side of the split
_TRAINING_PATHS = 2  # generated sequences of a training context
_NOTES = {REAL: "half as many real sequences as training data: the generated ones stand in for them"}


@dataclass(frozen=True, slots=True, eq=False)
class ContextScales:
    """The mean and scale of each origin's context, by which the classifier's sequences are normalised.

    Attributes:
        mean: Mean of each channel. [N, 1, C]
        scale: Standard deviation of each channel. [N, 1, C]
    """

    mean: FloatArray
    scale: FloatArray

    @classmethod
    def of(cls, origins: OriginSet) -> ContextScales:
        """Compute them from the contexts."""
        plan, lookback = origins.plan, origins.windows.lookback
        values = [instrument.candles.frame.to_numpy(dtype=np.float64) for instrument in plan.instruments]
        pairs = zip(plan.series.tolist(), plan.known.tolist(), strict=True)
        scalers = [fit_scaler(values[i][k - lookback : k]) for i, k in pairs]
        mean = np.array([scaler.location for scaler in scalers], np.float64)
        scale = np.array([scaler.scale for scaler in scalers], np.float64)
        return cls(mean[:, None], scale[:, None])

    def normalise(self, candles: FloatArray, rows: IntArray) -> FloatArray:
        """Normalise the candles of some origins, ``[n, T, 6]``, and keep only the used channels."""
        normalised: FloatArray = np.clip((candles - self.mean[rows]) / self.scale[rows], -CLIP, CLIP)
        return normalised[..., self.channels]

    @property
    def channels(self) -> IntArray:
        """The prices, and volume and amount if any context has them."""
        used = (self.mean != 0).any(axis=(0, 1))
        used[: len(PRICES)] = True
        return np.flatnonzero(used)


def split_by_time(times: OriginTimes) -> tuple[IntArray, IntArray]:
    """Split origins into earlier ones for training and later ones for tests, about half each.

    Origins whose horizon contains the cut are left out.

    Returns:
        Positions of the earlier and of the later origins; either may be empty.
    """
    cut = times.origins.sort_values()[len(times.origins) // 2]
    return np.flatnonzero(times.ends <= cut), np.flatnonzero(times.origins >= cut)


def normalise_by_start(sequences: FloatArray, lookback: int) -> FloatArray:
    """Normalise each sequence of ``[n, T, C]`` by mean and standard deviation of its first ``lookback`` candles."""
    result = np.empty_like(sequences)
    for row, sequence in enumerate(sequences):
        result[row] = np.clip(fit_scaler(sequence[:lookback]).transform(sequence), -CLIP, CLIP)
    return result


def synthetic_work(origins: OriginSet) -> int:
    """Return the number of sequences to generate and to train on; half of the contexts are used for training, twice."""
    count, generators = len(origins.plan), 1 + len(available(GENERATORS))
    return generators * (3 * count // 2 + 2 * count) + count // 2


def synthetic_task(context: TaskContext) -> TaskResult:
    """Generate sequences and score them; groups with too few sequences are left out with a warning."""
    rows: list[TaskRow] = []
    warnings: list[str] = []
    history: list[int] = []
    for group, members in context.origins.groups():
        scorer = _GroupScorer(context, context.origins.select(members))
        if scorer.smaller_side < MIN_SEQUENCES:
            warnings.append(
                f"{group} is left out: its {len(members)} sequences leave {scorer.smaller_side} on one side of the "
                f"split by time, and {MIN_SEQUENCES} are needed. Use more candles or shorter sequences."
            )
            continue
        rows += scorer.rows(group)
        history += scorer.history
        if 2 * scorer.smaller_side < SEQUENCES:
            warnings.append(
                f"{group}: the networks are trained on {len(scorer.earlier):,} real sequences, the paper's on "
                f"{SEQUENCES // 2:,}; with few of them, an error near 0.5 may only mean that they learned little."
            )
    notes = {name: BASELINES[name].description for name in GENERATORS} | _NOTES
    return TaskResult(tuple(rows), notes, min(history, default=None), tuple(warnings))


class _GroupScorer:
    """Generates and scores the sequences of one group.

    Attributes:
        earlier: Positions of the training contexts.
        later: Positions of the test contexts.
        history: The smallest number of candles that the model's forecasts used, one per call.
    """

    def __init__(self, context: TaskContext, origins: OriginSet) -> None:
        self._context = context
        self._origins = origins
        self._times = OriginTimes.of(origins.plan)
        self._scales = ContextScales.of(origins)
        self._real = actual_candles(origins.plan)
        self._windows = tstr_windows(origins.interval, origins.windows.horizon)
        self.earlier, self.later = split_by_time(self._times)
        self.history: list[int] = []

    @property
    def smaller_side(self) -> int:
        """Number of real sequences on the smaller side of the split."""
        return min(len(self.earlier), len(self.later))

    def rows(self, group: str) -> list[TaskRow]:
        """Return the rows of the model, the baselines, and the real sequences."""
        generators = [self._context.model, *available(GENERATORS)]
        rows = [self._row(group, generator, baseline=number > 0) for number, generator in enumerate(generators)]
        unknown = {"discriminative": TaskStatistic(float("nan"))}
        return [*rows, self._with_tstr(group, REAL, self._real[self.earlier], unknown)]

    def _row(self, group: str, generator: Forecaster, *, baseline: bool) -> TaskRow:
        training = self._generate(generator, self.earlier, _TRAINING_PATHS)
        test = self._generate(generator, self.later, 1)
        trained, tested = ~np.isnan(training[:, 0, 0, 0]), ~np.isnan(test[:, 0, 0, 0])
        if min(trained.sum(), tested.sum()) < MIN_SEQUENCES:
            unknown = {name: TaskStatistic(float("nan")) for name in ("discriminative", "tstr_ic", "tstr_rank_ic")}
            return TaskRow(group, generator.name, baseline, 0, 0, unknown)
        training, test, earlier, later = training[trained], test[tested], self.earlier[trained], self.later[tested]
        wrong = classify(
            self._real_and_generated(earlier, training[:, 0]),
            self._real_and_generated(later, test[:, 0]),
            self._context.settings.seed,
            self._context.work.add,
        )
        times = self._times.select(later)
        share = proportion(np.concatenate(wrong), times.origins.append(times.origins), overlap=times.overlap)
        sequences = training.reshape(-1, *training.shape[2:])
        figures = {"discriminative": TaskStatistic.of(share)}
        return self._with_tstr(group, generator.name, sequences, figures, baseline=baseline)

    def _generate(self, generator: Forecaster, rows: IntArray, paths: int) -> FloatArray:
        """Sequences of some contexts, ``[n, paths, T, 6]``; NaN where none was generated."""
        context, origins = self._context, self._origins.select(rows)
        if generator is context.model:
            forecasts = context.forecast_model(whole_paths, paths, origins)
            self.history += [] if forecasts.history is None else [forecasts.history]
        else:
            spec = ForecastSpec(whole_paths, paths, context.settings.seed)
            forecasts = forecast_origins(origins, generator, spec, context.work)
        shape = (len(rows), paths, *self._real.shape[1:])
        return forecasts.values if forecasts.values.shape == shape else np.full(shape, np.nan)

    def _real_and_generated(self, rows: IntArray, generated: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Real and generated sequences of some contexts, normalised for the classifier."""
        return self._scales.normalise(self._real[rows], rows), self._scales.normalise(generated, rows)

    def _with_tstr(
        self,
        group: str,
        name: str,
        training: FloatArray,
        figures: dict[str, TaskStatistic],
        *,
        baseline: bool = True,
    ) -> TaskRow:
        """The row with the TSTR figures of a forecaster trained on these sequences."""
        channels, times = self._scales.channels, self._times.select(self.later)
        ic, rank_ic = tstr_correlations(
            training[..., channels],
            self._real[self.later][..., channels],
            self._windows,
            self._context.settings.seed,
            self._context.work.add,
        )
        figures = {**figures, "tstr_ic": mean_figure(ic, times), "tstr_rank_ic": mean_figure(rank_ic, times)}
        return TaskRow(group, name, baseline, len(training), int(times.origins.nunique()), figures)


def tstr_correlations(
    training: FloatArray, test: FloatArray, windows: Windows, seed: int, on_epoch: EpochCallback
) -> tuple[FloatArray, FloatArray]:
    """Train the forecaster on sequences and compute IC and RankIC of its forecasts of others.

    Args:
        training: Sequences of candles, ``[n, T, C]``, prices first.
        test: Test sequences, ``[m, T, C]``.
        windows: History and horizon within a sequence.
        seed: Random seed of the training.
        on_epoch: Progress callback.
    """
    lookback = windows.lookback
    inputs = normalise_by_start(test, lookback)[:, :lookback]
    normalised = normalise_by_start(training, lookback)
    predicted = continuation(normalised, inputs, windows.horizon, len(PRICES), seed, on_epoch)
    return within_windows(predicted, test[:, -windows.horizon :, : len(PRICES)])
