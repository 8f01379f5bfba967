"""The task on generated sequences: can they be told from real ones, and what does one learn from them?

- *discriminative*: the share that an LSTM gets wrong of sequences it has not seen, half of them real; .5 is the best.
- *usefulness* (train on synthetic, test on real): an LSTM learns to forecast from generated sequences alone; IC and
  RankIC of the prices it then forecasts in real ones, window by window as in the task on prices.

Everybody generates from the same real contexts. A context to learn from has two generated sequences: one stands beside
the real one, both are what the forecaster learns from, so that it has as many as the paper's without a later context.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kronos.baselines import BASELINES
from kronos.candles import PRICES
from kronos.evaluation.forecasters import Forecaster
from kronos.evaluation.paper.classifiers import Tell, classify, continuation
from kronos.evaluation.paper.forecasting import (
    GENERATORS,
    OriginSet,
    Question,
    Rows,
    Times,
    actual,
    available,
    forecast_origins,
    whole_paths,
)
from kronos.evaluation.paper.results import Figure, Row, TaskContext, TaskResult, mean_figure, within
from kronos.evaluation.paper.settings import SEQUENCES, Windows, usefulness_windows
from kronos.metrics import proportion
from kronos.preprocessing import normalise
from kronos.typing import FloatArray

CLIP = 5.0  # standard deviations, as the model sees them
LEAST = 20  # sequences of each kind, on each side of the split


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """The units that sequences are shown in, one for each origin.

    Attributes:
        mean: Of each channel of the context. [N, 1, C]
        scale: What is divided by. [N, 1, C]
    """

    mean: FloatArray
    scale: FloatArray

    @classmethod
    def of(cls, walk: OriginSet) -> Frames:
        """Read them off the contexts."""
        lookback = walk.windows.lookback
        values = [one.candles.frame.to_numpy(dtype=np.float64) for one in walk.plan.instruments]
        pairs = zip(walk.plan.series.tolist(), walk.plan.known.tolist(), strict=True)
        found = [normalise(values[i][k - lookback : k], CLIP)[1:] for i, k in pairs]
        mean, scale = (np.array([one[part] for one in found], dtype=np.float64)[:, None] for part in (0, 1))
        return cls(mean, scale)

    def shown(self, candles: FloatArray, rows: Rows) -> FloatArray:
        """Candles of some origins, ``[n, T, 6]``, in these units; channels that no context ever had are left out."""
        shown: FloatArray = np.clip((candles - self.mean[rows]) / self.scale[rows], -CLIP, CLIP)
        return shown[..., self.channels]

    @property
    def channels(self) -> Rows:
        """The prices, and volume and amount where some context has them."""
        known = (self.mean != 0).any(axis=(0, 1))
        known[: len(PRICES)] = True
        return np.flatnonzero(known)


def split(times: Times) -> tuple[Rows, Rows]:
    """Earlier origins to learn from and later ones to be tested on, about half each.

    What straddles the cut is left out.

    Returns:
        Positions of the earlier and of the later origins; either may be empty.
    """
    cut = times.origins.sort_values()[len(times.origins) // 2]
    return np.flatnonzero(times.ends <= cut), np.flatnonzero(times.origins >= cut)


def in_own_units(sequences: FloatArray, seen: int) -> FloatArray:
    """Sequences ``[n, T, C]``, each by mean and spread of its own first ``seen`` candles."""
    found = np.empty_like(sequences)
    for row, sequence in enumerate(sequences):
        _, mean, scale = normalise(sequence[:seen], CLIP)
        found[row] = np.clip((sequence - mean) / scale, -CLIP, CLIP)
    return found


REAL = "real"
_DRAWS = 2  # sequences of a context to learn from
_NOTES = {REAL: "the real sequences themselves, half as many, to learn from: what generated ones stand in for"}


def amount(walk: OriginSet) -> int:
    """Sequences to generate, and to learn from by either judge; half of the contexts are learnt from, twice."""
    count, generators = len(walk.plan), 1 + len(available(GENERATORS))
    return generators * (3 * count // 2 + 2 * count) + count // 2


def synthetic(work: TaskContext) -> TaskResult:
    """Generate sequences, and have them judged; a group with too few of them is left out, with a warning."""
    rows: list[Row] = []
    warnings: list[str] = []
    history: list[int] = []
    for group, members in work.walk.groups():
        judged = _Judged(work, work.walk.some(members))
        if judged.fewest < LEAST:
            warnings.append(
                f"{group} is left out: its {len(members)} sequences leave {judged.fewest} on one side of the split by "
                f"time, and {LEAST} are needed; give more candles, or ask for shorter sequences."
            )
            continue
        rows += judged.rows(group)
        history += judged.history
        if 2 * judged.fewest < SEQUENCES:
            warnings.append(
                f"{group}: the judges learn from {len(judged.earlier):,} real sequences where the paper's have "
                f"{SEQUENCES // 2:,}; with few, an error near 0.5 may only say that they learnt little."
            )
    notes = {name: BASELINES[name].description for name in GENERATORS} | _NOTES
    return TaskResult(tuple(rows), notes, min(history, default=None), tuple(warnings))


class _Judged:
    """One group's contexts, real sequences and judges.

    Attributes:
        earlier: Positions of the contexts to learn from.
        later: Of those to be tested on.
        history: The fewest candles that forecasts of the model used.
    """

    def __init__(self, work: TaskContext, walk: OriginSet) -> None:
        self._work = work
        self._walk = walk
        self._times = Times.of(walk.plan)
        self._frames = Frames.of(walk)
        self._real = actual(walk.plan)
        self._windows = usefulness_windows(walk.interval, walk.windows.horizon)
        self.earlier, self.later = split(self._times)
        self.history: list[int] = []

    @property
    def fewest(self) -> int:
        """Real sequences on the smaller side of the split."""
        return min(len(self.earlier), len(self.later))

    def rows(self, group: str) -> list[Row]:
        """The model's row, the baselines', and that of the real sequences."""
        everybody = [self._work.model, *available(GENERATORS)]
        found = [self._row(group, one, baseline=number > 0) for number, one in enumerate(everybody)]
        nobody = {"discriminative": Figure(float("nan"))}
        return [*found, self._finished(group, REAL, self._real[self.earlier], nobody)]

    def _row(self, group: str, who: Forecaster, *, baseline: bool) -> Row:
        learn, test = self._generate(who, self.earlier, _DRAWS), self._generate(who, self.later, 1)
        known, tested = ~np.isnan(learn[:, 0, 0, 0]), ~np.isnan(test[:, 0, 0, 0])
        if min(known.sum(), tested.sum()) < LEAST:
            unknown = {name: Figure(float("nan")) for name in ("discriminative", "tstr_ic", "tstr_rank_ic")}
            return Row(group, who.name, baseline, 0, 0, unknown)
        learn, test, earlier, later = learn[known], test[tested], self.earlier[known], self.later[tested]
        wrong = classify(
            self._pair(earlier, learn[:, 0]), self._pair(later, test[:, 0]), self._work.settings.seed, self._tell
        )
        times = self._times.some(later)
        share = proportion(np.concatenate(wrong), times.origins.append(times.origins), overlap=times.overlap)
        drawn = learn.reshape(-1, *learn.shape[2:])
        return self._finished(group, who.name, drawn, {"discriminative": Figure.of(share)}, baseline=baseline)

    def _generate(self, who: Forecaster, rows: Rows, draws: int) -> FloatArray:
        """Sequences of some contexts, ``[n, draws, T, 6]``; NaN where it made none."""
        work, walk = self._work, self._walk.some(rows)
        if who is work.model:
            answers = work.ask_model(whole_paths, draws, walk)
            self.history += [] if answers.history is None else [answers.history]
        else:
            answers = forecast_origins(walk, who, Question(whole_paths, draws, work.settings.seed), work.tally)
        shape = (len(rows), draws, *self._real.shape[1:])
        return answers.values if answers.values.shape == shape else np.full(shape, np.nan)

    def _pair(self, rows: Rows, generated: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Real and generated sequences of some contexts, as the classifier sees them."""
        return self._frames.shown(self._real[rows], rows), self._frames.shown(generated, rows)

    def _finished(
        self, group: str, name: str, learn: FloatArray, figures: dict[str, Figure], *, baseline: bool = True
    ) -> Row:
        """The row, with what a forecaster that learnt from such sequences is worth on the later real ones."""
        channels, times = self._frames.channels, self._times.some(self.later)
        test = self._real[self.later]
        seed = self._work.settings.seed
        ic, rank_ic = usefulness(learn[..., channels], test[..., channels], self._windows, seed, self._tell)
        figures = {**figures, "tstr_ic": mean_figure(ic, times), "tstr_rank_ic": mean_figure(rank_ic, times)}
        return Row(group, name, baseline, len(learn), int(times.origins.nunique()), figures)

    def _tell(self, amount: int) -> None:
        self._work.tally.add(amount)


def usefulness(
    learn: FloatArray, test: FloatArray, windows: Windows, seed: int, tell: Tell
) -> tuple[FloatArray, FloatArray]:
    """IC and RankIC of each test sequence, for a forecaster that learnt from others.

    Args:
        learn: Sequences of candles, ``[n, T, C]``, prices first.
        test: Likewise, ``[m, T, C]``.
        windows: What of them is seen and what is forecast.
        seed: Of the forecaster.
        tell: Told after every epoch; all add up to n.
    """
    taught = in_own_units(learn, windows.lookback)
    seen = in_own_units(test, windows.lookback)[:, : windows.lookback]
    told = continuation(taught, seen, windows.horizon, len(PRICES), seed, tell)
    return within(told, test[:, -windows.horizon :, : len(PRICES)])
