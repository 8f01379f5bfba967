"""The pictures of an evaluation: what `kronos.plotting.evaluation_plots` draws, made of its scores and figures.

Whoever is drawn looks the same everywhere: a calibrated forecaster has the hue and shape of the one it corrects, and is
filled. PITs over all groups are weighted as the figures are; called probabilities are counted one by one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from kronos.evaluation.aggregate import ALL, Aggregates
from kronos.evaluation.scoring import count_by_group, equal_weights
from kronos.metrics import Coefficients, Estimate, pit_histogram, rank_ic, reliability
from kronos.plotting.evaluation_canvas import GREY, PlotSeries, shortened
from kronos.plotting.evaluation_plots import plot_coverage, plot_cumulative_ic, plot_fan, plot_pit, plot_reliability
from kronos.plotting.skill_plot import plot_skill
from kronos.plotting.style import Palette, Theme
from kronos.plotting.svg import inline_svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from kronos.evaluation.evaluation import Contender, Evaluation

_BINS = 10  # of a PIT histogram
_CALLS = 20  # of a reliability diagram
_FEWEST = 5  # forecasts in a mark of it
_HISTORY = 72  # candles of history beside a forecast, at most
_FANS = 6  # forecasts shown of one forecaster, half of them at once
_NAN = math.nan
_UNKNOWN = Estimate(_NAN, _NAN, _NAN, 0.95, "none", 0, _NAN, 0)


def series_of(subjects: Sequence[Contender], reference: str) -> dict[str, PlotSeries]:
    """How everybody looks: one hue a model, whose calibrated forecasts are filled; the reference is grey."""
    found: dict[str, PlotSeries] = {}
    models: list[Mapping[str, Any]] = []
    for one in subjects:
        model = {key: value for key, value in one.identity.items() if key not in ("calibration", "parts")}
        if one.calibration is None or model not in models:
            models.append(model)
        hue = GREY if one.name == reference else models.index(model)
        found[one.name] = PlotSeries(one.name, hue, one.baseline or one.calibration is not None)
    return found


@dataclass(frozen=True)
class ReportFigures:
    """Draws an evaluation's pictures as SVG for a page.

    Attributes:
        evaluation: Whose.
        overall: What all groups together are called.
        theme: Which of its colours are the pictures' own, where a page has none.
        palette: Likewise.
    """

    evaluation: Evaluation
    overall: str = "all groups"
    theme: Theme = "light"
    palette: Palette = "green-up"

    @property
    def _looks(self) -> dict[str, PlotSeries]:
        return series_of(self.evaluation.subjects, self.evaluation.reference)

    @property
    def shown(self) -> list[str]:
        """Who is looked at closely: those evaluated, or the baselines where there is nobody else."""
        names = self.evaluation.evaluated
        points = [one.name for one in self.evaluation.subjects if one.point]
        return names or [one.name for one in self.evaluation.subjects if one.name not in points]

    @property
    def steps(self) -> list[int]:
        """Steps that were scored."""
        return sorted({one.step for one in self.evaluation.figures})

    def skill(self) -> list[str]:
        """A picture a step: skill by group."""
        found = self.evaluation
        shown = [name for name in self.shown if name != found.reference]
        rows = pd.DataFrame([self._skill_row(one) for one in found.figures if one.skill is not None])
        if rows.empty:
            return []
        near, points = rows["forecaster"].isin(shown), [one.name for one in found.subjects if one.point]
        pictures = []
        for step in self.steps:
            here = rows["step"] == step
            figure = plot_skill(
                rows[near & here],
                [self._looks[name] for name in shown],
                title=_ahead(step),
                reference=found.reference,
                others=rows[~near & here & ~rows["forecaster"].isin(points)],
                first=self.overall,
                theme=self.theme,
                palette=self.palette,
            )
            told = f"Skill of {_listed(shown)} against {found.reference} by group, {_ahead(step)}"
            pictures.append(self._svg(figure, f"skill-{step}", told))
        return pictures

    def coverage(self, group: str = ALL, *, reference: bool = True) -> list[str]:
        """A picture a forecaster: coverage by step."""
        pictures = []
        for name in self._closely(reference):
            rows = [
                {"step": one.step, "band": float(band) / 100, **_ends(share, "coverage")}
                for one in self.evaluation.figures
                if (one.forecaster, one.group) == (name, group)
                for band, share in one.coverage.items()
            ]
            figure = plot_coverage(
                pd.DataFrame(rows, columns=["step", "band", "coverage", "low", "high"]),
                self._looks[name],
                subtitle=f"share of outcomes within the bands{self._in(group)}",
                theme=self.theme,
                palette=self.palette,
            )
            told = f"Coverage of {name}'s bands by step{self._in(group)}"
            pictures.append(self._svg(figure, self._key("coverage", name, group), told, _told_coverage(rows)))
        return pictures

    def pit(self, step: int, group: str = ALL, *, reference: bool = True) -> list[str]:
        """A picture a forecaster: its PIT histogram."""
        pictures = []
        for name in self._closely(reference):
            rows = self._rows(name, step, group)
            known = count_by_group(self.evaluation.truth.origins["group"]) if group == ALL else {group}
            shares, expected = _histogram(rows[rows["group"].isin(known)], self._overlap(step))
            figure = plot_pit(
                shares,
                expected,
                self._looks[name],
                subtitle=f"PIT, {_ahead(step)}{self._in(group)}",
                theme=self.theme,
                palette=self.palette,
            )
            told = f"PIT histogram of {name}, {_ahead(step)}{self._in(group)}"
            description = f"Shares from the lowest tenth to the highest: {', '.join(f'{one:.1%}' for one in shares)}."
            pictures.append(self._svg(figure, self._key(f"pit-{step}", name, group), told, description))
        return pictures

    def reliability(self, step: int) -> list[str]:
        """A picture a forecaster: how often prices rose, by how likely that was called."""
        pictures = []
        for name in self._closely(True):
            rows = self._rows(name, step, ALL)
            figure = plot_reliability(
                _calls(rows, self._overlap(step)),
                self._looks[name],
                subtitle=f"how often prices rose, {_ahead(step)}",
                theme=self.theme,
                palette=self.palette,
            )
            told = f"Reliability of {name}'s probabilities of a rise, {_ahead(step)}"
            pictures.append(self._svg(figure, self._key(f"reliability-{step}", name, ALL), told))
        return pictures

    def ordering(self) -> tuple[list[str], list[str]]:
        """A picture a group of cumulative rank correlations; and the groups with fewer than five instruments a date."""
        step = self.steps[-1]
        pictures, missing = [], []
        for group in self.evaluation.scores.groups:
            found = {name: self._coefficients(name, step, group) for name in self.shown}
            known = {name: one for name, one in found.items() if one is not None and len(one.values) > 1}
            if not known:
                missing.append(group)
                continue
            lines = {name: pd.Series(one.values, pd.DatetimeIndex(one.keys)) for name, one in known.items()}
            figure = plot_cumulative_ic(
                lines,
                [self._looks[name] for name in known],
                title=group,
                subtitle=f"rank correlations summed up, {_ahead(step)}",
                error=max((_error(one) for one in known.values()), default=_NAN),
                theme=self.theme,
                palette=self.palette,
            )
            told = f"Cumulative rank correlation in {group}, {_ahead(step)}"
            means = "; ".join(f"{name}: mean {one.mean:.3f}, t {one.t_statistic:.1f}" for name, one in known.items())
            pictures.append(self._svg(figure, self._key("ordering", "", group), told, f"{means}."))
        return pictures, missing

    def examples(self) -> tuple[list[str], list[str]]:
        """Forecasts with the median score of their group, then other quantiles; a few of each forecaster, and more."""
        return self._fans("example", lambda rows: _typical(rows, _FANS))

    def worst(self) -> tuple[list[str], list[str]]:
        """The forecasts with the largest scores, at most one an instrument; a few of each forecaster, and more."""
        return self._fans("worst", _worst)

    def _fans(
        self, what: str, choose: Callable[[pd.DataFrame], list[tuple[int, float]]]
    ) -> tuple[list[str], list[str]]:
        few: list[str] = []
        more: list[str] = []
        for name in self.shown:
            chosen = choose(self._rows(name, self.steps[-1], ALL).dropna(subset="crps"))
            fans = [self._fan(name, origin, crps, f"{what}-{place}") for place, (origin, crps) in enumerate(chosen)]
            few += fans[: _FANS // 2]
            more += fans[_FANS // 2 :]
        return few, more

    def _fan(self, name: str, origin: int, crps: float, key: str) -> str:
        """One forecast beside what came."""
        plan, found = self.evaluation.plan, self.evaluation
        history = plan.history(origin).frame["close"].tail(min(_HISTORY, 3 * plan.walk.horizon + 12))
        start = float(history.iloc[-1])
        row = found.truth.origins.iloc[origin]
        time = history.index[-1]
        when = f"{time:%Y-%m-%d}" if time == time.normalize() else f"{time:%Y-%m-%d %H:%M}"
        subtitle = f"CRPS {crps:.2f} σ√h · {row['group']} · {name}"
        figure = plot_fan(
            history,
            start * np.exp(found.paths[name].returns[origin].astype(np.float64)),
            pd.Series(start * np.exp(found.truth.returns[origin]), plan.times(origin)),
            self._looks[name],
            title=f"{shortened(str(row['series']), 20)} · {when}",
            subtitle=subtitle,
            theme=self.theme,
            palette=self.palette,
        )
        return self._svg(figure, self._key(key, name, ALL), f"{row['series']}, forecast as of {when}", subtitle)

    def _skill_row(self, one: Aggregates) -> dict[str, Any]:
        group = self.overall if one.group == ALL else one.group
        ends = _ends(one.skill or _UNKNOWN, "skill")
        return {"group": group, "forecaster": one.forecaster, "step": one.step, **ends}

    def _closely(self, reference: bool) -> list[str]:
        names = self.shown
        return [*names, self.evaluation.reference] if reference and self.evaluation.reference not in names else names

    def _rows(self, name: str, step: int, group: str) -> pd.DataFrame:
        rows = self.evaluation.scores.steps
        rows = rows[(rows["forecaster"] == name) & (rows["step"] == step)]
        return rows if group == ALL else rows[rows["group"] == group]

    def _coefficients(self, name: str, step: int, group: str) -> Coefficients | None:
        rows = self._rows(name, step, group)
        if rows["predicted"].nunique() < 2:
            return None
        dates, series = rows["date"].to_numpy(), rows["series"].to_numpy()
        return rank_ic(rows["predicted"], rows["actual"], dates, series, overlap=self._overlap(step))

    def _overlap(self, step: int) -> int:
        return self.evaluation.plan.walk.overlap(step)

    def _in(self, group: str) -> str:
        return f" · {self.overall if group == ALL else group}"

    def _key(self, what: str, name: str, group: str) -> str:
        """Letters, digits and hyphens that no other picture has."""
        names = [one.name for one in self.evaluation.subjects]
        groups = [ALL, *self.evaluation.scores.groups]
        return f"{what}-{names.index(name) if name in names else 'x'}-{groups.index(group)}"

    def _svg(self, figure: Figure, key: str, title: str, description: str = "") -> str:
        return inline_svg(figure, key, title, description, theme=self.theme, palette=self.palette)


def _ahead(step: int) -> str:
    return "1 candle ahead" if step == 1 else f"{step} candles ahead"


def _listed(names: Sequence[str]) -> str:
    return " and ".join(names) if len(names) < 3 else f"{', '.join(names[:-1])} and {names[-1]}"


def _ends(found: Estimate, name: str) -> dict[str, float]:
    return {name: found.estimate, "low": found.low, "high": found.high}


def _told_coverage(rows: Sequence[Mapping[str, float]]) -> str:
    """The shares in words."""
    told = [f"{row['band']:.0%} band at step {row['step']:.0f}: {row['coverage']:.1%}" for row in rows]
    return f"{'; '.join(told)}." if told else ""


def _histogram(rows: pd.DataFrame, overlap: int) -> tuple[npt.NDArray[np.float64], tuple[float, float]]:
    """Shares in bins, every group counting the same, and between which those of a calibrated one mostly lie."""
    rows = rows.dropna(subset="pit")
    if rows.empty:
        return np.full(_BINS, np.nan), (_NAN, _NAN)
    number = np.minimum((rows["pit"].to_numpy() * _BINS).astype(np.intp), _BINS - 1)
    weight = equal_weights(rows["group"])
    shares = np.bincount(number, weight, _BINS) / weight.sum()
    bins = pit_histogram(rows["pit"], rows["date"].to_numpy(), bins=_BINS, overlap=overlap)
    alike = float(np.nanmedian([one.share.effective_n for one in bins])) / len(rows)  # dates and overlap leave so much
    size = alike * weight.sum() ** 2 / (weight**2).sum()  # Kish's for unequal weights
    half = 1.96 * math.sqrt((1 / _BINS) * (1 - 1 / _BINS) / size) if size > 0 else _NAN
    return shares, (1 / _BINS - half, 1 / _BINS + half)


def _calls(rows: pd.DataFrame, overlap: int) -> pd.DataFrame:
    """Probabilities of a rise in bins, how often it came, and between which shares chance puts a calibrated one."""
    found = reliability(
        rows["up"], rows["rose"], rows["date"].to_numpy(), bins=_CALLS, binning="width", overlap=overlap
    )
    bins = [one for one in found.bins if one.n >= _FEWEST]
    halves = [1.96 * math.sqrt(one.forecast * (1 - one.forecast) / max(1.0, one.observed.effective_n)) for one in bins]
    return pd.DataFrame(
        {
            "forecast": [one.forecast for one in bins],
            "observed": [one.observed.estimate for one in bins],
            "n": [one.n for one in bins],
            "low": [max(0.0, one.forecast - half) for one, half in zip(bins, halves, strict=True)],
            "high": [min(1.0, one.forecast + half) for one, half in zip(bins, halves, strict=True)],
        }
    )


def _error(found: Coefficients) -> float:
    """What chance makes of one coefficient: the mean's HAC standard error times √dates."""
    if not (math.isfinite(found.t_statistic) and found.t_statistic):
        return _NAN
    return abs(found.mean / found.t_statistic) * math.sqrt(found.dates)


def _typical(rows: pd.DataFrame, number: int) -> list[tuple[int, float]]:
    """Origins and scores: in every group the median forecast, then its quartiles and so on, until there are enough."""
    chosen: list[tuple[int, float]] = []
    ranked = {name: one.sort_values(["crps", "origin"]) for name, one in rows.groupby("group")}
    places = np.linspace(0, len(ranked) - 1, min(number, len(ranked))).round().astype(int)
    shown = [list(ranked)[place] for place in places]
    for level in (0.5, 0.25, 0.75, 0.1, 0.9):
        for name in shown:
            own = ranked[name]
            pick = own.iloc[round(level * (len(own) - 1))]
            if len(chosen) < number and int(pick["origin"]) not in [origin for origin, _ in chosen]:
                chosen.append((int(pick["origin"]), float(pick["crps"])))
    return chosen


def _worst(rows: pd.DataFrame) -> list[tuple[int, float]]:
    """Origins and scores: the largest ones."""
    rows = rows.sort_values("crps", ascending=False, kind="stable").drop_duplicates("series").head(_FANS)
    return list(zip(rows["origin"].tolist(), rows["crps"].tolist(), strict=True))
