"""The figures of the evaluation report, drawn by `kronos.plotting.evaluation_plots` from scores and aggregates.

A contender looks the same in all figures: a calibrated one has the hue and shape of the one it corrects, and is filled.
PIT values over all groups have the same weights as the aggregates; in reliability diagrams each forecast counts once.
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
from kronos.evaluation.scoring import equal_weights, large_groups
from kronos.formatting import join_names, truncate_middle
from kronos.metrics import Coefficients, Estimate, pit_histogram, rank_ic, reliability
from kronos.plotting.evaluation_canvas import GREY, PlotSeries
from kronos.plotting.evaluation_plots import plot_coverage, plot_cumulative_ic, plot_fan, plot_pit, plot_reliability
from kronos.plotting.skill_plot import plot_skill
from kronos.plotting.style import Palette, Theme
from kronos.plotting.svg import inline_svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from kronos.evaluation.evaluation import Contender, Evaluation

_PIT_BINS = 10
_RELIABILITY_BINS = 20
_MIN_PER_BIN = 5  # forecasts that a bin of the reliability diagram needs
_HISTORY = 72  # most candles of history in front of a forecast
_FANS = 6  # forecasts shown per contender; half of them are folded
_NAN = math.nan


def series_of(contenders: Sequence[Contender], reference: str) -> dict[str, PlotSeries]:
    """Assign styles by name: one hue per model, filled if calibrated; the reference is grey."""
    series: dict[str, PlotSeries] = {}
    models: list[Mapping[str, Any]] = []
    for contender in contenders:
        model = {key: value for key, value in contender.identity.items() if key not in ("calibration", "parts")}
        if contender.calibration is None or model not in models:
            models.append(model)
        hue = GREY if contender.name == reference else models.index(model)
        filled = contender.baseline or contender.calibration is not None
        series[contender.name] = PlotSeries(contender.name, hue, filled)
    return series


@dataclass(frozen=True)
class ReportFigures:
    """Draws the figures of an evaluation as inline SVG.

    Attributes:
        evaluation: The evaluation.
        overall: Label of all groups together.
        theme: Colours to use outside a page that defines its own.
        palette: Colours of rising and falling prices, likewise.
    """

    evaluation: Evaluation
    overall: str = "all groups"
    theme: Theme = "light"
    palette: Palette = "green-up"

    @property
    def _styles(self) -> dict[str, PlotSeries]:
        return series_of(self.evaluation.contenders, self.evaluation.reference)

    @property
    def shown(self) -> list[str]:
        """Contenders with figures of their own: the evaluated ones, or the baselines if there are none."""
        evaluation = self.evaluation
        return evaluation.evaluated or [contender.name for contender in evaluation.contenders if not contender.point]

    def skill(self) -> list[str]:
        """Draw skill by group, one figure per step."""
        evaluation = self.evaluation
        shown = [name for name in self.shown if name != evaluation.reference]
        rows = pd.DataFrame([self._skill_row(own, own.skill) for own in evaluation.aggregates if own.skill is not None])
        if rows.empty:
            return []
        is_shown = rows["forecaster"].isin(shown)
        is_point = rows["forecaster"].isin([own.name for own in evaluation.contenders if own.point])
        figures = []
        for step in evaluation.steps:
            at_step = rows["step"] == step
            figure = plot_skill(
                rows[is_shown & at_step],
                [self._styles[name] for name in shown],
                title=_ahead(step),
                reference=evaluation.reference,
                others=rows[~is_shown & at_step & ~is_point],
                first=self.overall,
                theme=self.theme,
                palette=self.palette,
            )
            title = f"Skill of {join_names(shown, None)} against {evaluation.reference} by group, {_ahead(step)}"
            figures.append(self._svg(figure, f"skill-{step}", title))
        return figures

    def coverage(self, group: str = ALL, *, reference: bool = True) -> list[str]:
        """Draw coverage by step, one figure per contender."""
        figures = []
        for name in self._shown_with(reference):
            rows = [
                {"step": own.step, "band": float(band) / 100, **_interval(share, "coverage")}
                for own in self.evaluation.aggregates
                if (own.forecaster, own.group) == (name, group)
                for band, share in own.coverage.items()
            ]
            figure = plot_coverage(
                pd.DataFrame(rows, columns=["step", "band", "coverage", "low", "high"]),
                self._styles[name],
                subtitle=f"share of outcomes within the bands{self._in(group)}",
                theme=self.theme,
                palette=self.palette,
            )
            title = f"Coverage of {name}'s bands by step{self._in(group)}"
            figures.append(self._svg(figure, self._key("coverage", name, group), title, _describe_coverage(rows)))
        return figures

    def pit(self, step: int, group: str = ALL, *, reference: bool = True) -> list[str]:
        """Draw PIT histograms, one figure per contender."""
        figures = []
        for name in self._shown_with(reference):
            rows = self._rows(name, step, group)
            known = large_groups(self.evaluation.actuals.origins["group"]) if group == ALL else {group}
            shares, expected = _histogram(rows[rows["group"].isin(known)], self._overlap(step))
            figure = plot_pit(
                shares,
                expected,
                self._styles[name],
                subtitle=f"PIT, {_ahead(step)}{self._in(group)}",
                theme=self.theme,
                palette=self.palette,
            )
            title = f"PIT histogram of {name}, {_ahead(step)}{self._in(group)}"
            description = f"Shares by tenth, from the lowest: {', '.join(f'{share:.1%}' for share in shares)}."
            figures.append(self._svg(figure, self._key(f"pit-{step}", name, group), title, description))
        return figures

    def reliability(self, step: int) -> list[str]:
        """Draw reliability diagrams of the probability of a rise, one figure per contender."""
        figures = []
        for name in self._shown_with(True):
            rows = self._rows(name, step, ALL)
            figure = plot_reliability(
                _calls(rows, self._overlap(step)),
                self._styles[name],
                subtitle=f"how often prices rose, {_ahead(step)}",
                theme=self.theme,
                palette=self.palette,
            )
            title = f"Reliability of {name}'s probabilities of a rise, {_ahead(step)}"
            figures.append(self._svg(figure, self._key(f"reliability-{step}", name, ALL), title))
        return figures

    def ordering(self) -> tuple[list[str], list[str]]:
        """Draw cumulative rank correlations, one figure per group; also return the groups with too few instruments."""
        step = self.evaluation.steps[-1]
        figures, missing = [], []
        for group in self.evaluation.scores.groups:
            found = {name: self._coefficients(name, step, group) for name in self.shown}
            known = {name: own for name, own in found.items() if own is not None and len(own.values) > 1}
            if not known:
                missing.append(group)
                continue
            lines = {name: pd.Series(own.values, pd.DatetimeIndex(own.keys)) for name, own in known.items()}
            figure = plot_cumulative_ic(
                lines,
                [self._styles[name] for name in known],
                title=group,
                subtitle=f"rank correlations summed up, {_ahead(step)}",
                error=max((_coefficient_error(own) for own in known.values()), default=_NAN),
                theme=self.theme,
                palette=self.palette,
            )
            title = f"Cumulative rank correlation in {group}, {_ahead(step)}"
            means = "; ".join(f"{name}: mean {own.mean:.3f}, t {own.t_statistic:.1f}" for name, own in known.items())
            figures.append(self._svg(figure, self._key("ordering", "", group), title, f"{means}."))
        return figures, missing

    def examples(self) -> tuple[list[str], list[str]]:
        """Draw typical forecasts: the median score of each group, then other quantiles; the first few, and the rest."""
        return self._fans("example", lambda rows: _typical(rows, _FANS))

    def worst(self) -> tuple[list[str], list[str]]:
        """Draw the forecasts with the largest scores, one per instrument; the first few, and the rest."""
        return self._fans("worst", _worst)

    def _fans(self, key: str, select: Callable[[pd.DataFrame], list[tuple[int, float]]]) -> tuple[list[str], list[str]]:
        few: list[str] = []
        more: list[str] = []
        for name in self.shown:
            selected = select(self._rows(name, self.evaluation.steps[-1], ALL).dropna(subset="crps"))
            fans = [self._fan(name, origin, crps, f"{key}-{place}") for place, (origin, crps) in enumerate(selected)]
            few += fans[: _FANS // 2]
            more += fans[_FANS // 2 :]
        return few, more

    def _fan(self, name: str, origin: int, crps: float, key: str) -> str:
        """One forecast with the outcome."""
        plan, found = self.evaluation.plan, self.evaluation
        history = plan.history(origin).frame["close"].tail(min(_HISTORY, 3 * plan.rolling.horizon + 12))
        start = float(history.iloc[-1])
        row = found.actuals.origins.iloc[origin]
        time = history.index[-1]
        when = f"{time:%Y-%m-%d}" if time == time.normalize() else f"{time:%Y-%m-%d %H:%M}"
        subtitle = f"CRPS {crps:.2f} σ√h · {row['group']} · {name}"
        figure = plot_fan(
            history,
            start * np.exp(found.paths[name].returns[origin].astype(np.float64)),
            pd.Series(start * np.exp(found.actuals.returns[origin]), plan.times(origin)),
            self._styles[name],
            title=f"{truncate_middle(str(row['series']), 20)} · {when}",
            subtitle=subtitle,
            theme=self.theme,
            palette=self.palette,
        )
        return self._svg(figure, self._key(key, name, ALL), f"{row['series']}, forecast as of {when}", subtitle)

    def _skill_row(self, own: Aggregates, skill: Estimate) -> dict[str, Any]:
        group = self.overall if own.group == ALL else own.group
        return {"group": group, "forecaster": own.forecaster, "step": own.step, **_interval(skill, "skill")}

    def _shown_with(self, reference: bool) -> list[str]:
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
        return self.evaluation.plan.rolling.overlap(step)

    def _in(self, group: str) -> str:
        return f" · {self.overall if group == ALL else group}"

    def _key(self, what: str, name: str, group: str) -> str:
        """An id of letters, digits and hyphens, unique on the page."""
        names = [contender.name for contender in self.evaluation.contenders]
        groups = [ALL, *self.evaluation.scores.groups]
        return f"{what}-{names.index(name) if name in names else 'x'}-{groups.index(group)}"

    def _svg(self, figure: Figure, key: str, title: str, description: str = "") -> str:
        return inline_svg(figure, key, title, description, theme=self.theme, palette=self.palette)


def _ahead(step: int) -> str:
    return "1 candle ahead" if step == 1 else f"{step} candles ahead"


def _interval(found: Estimate, name: str) -> dict[str, float]:
    return {name: found.estimate, "low": found.low, "high": found.high}


def _describe_coverage(rows: Sequence[Mapping[str, float]]) -> str:
    """The coverage in words."""
    shares = [f"{row['band']:.0%} band at step {row['step']:.0f}: {row['coverage']:.1%}" for row in rows]
    return f"{'; '.join(shares)}." if shares else ""


def _histogram(rows: pd.DataFrame, overlap: int) -> tuple[npt.NDArray[np.float64], tuple[float, float]]:
    """PIT shares with equal weights of groups, and the range of most shares of a calibrated forecaster."""
    rows = rows.dropna(subset="pit")
    if rows.empty:
        return np.full(_PIT_BINS, np.nan), (_NAN, _NAN)
    place = np.minimum((rows["pit"].to_numpy() * _PIT_BINS).astype(np.intp), _PIT_BINS - 1)
    weight = equal_weights(rows["group"])
    shares = np.bincount(place, weight, _PIT_BINS) / weight.sum()
    bins = pit_histogram(rows["pit"], rows["date"].to_numpy(), bins=_PIT_BINS, overlap=overlap)
    effective = float(np.nanmedian([own.share.effective_n for own in bins])) / len(rows)  # dates and overlap reduce n
    size = effective * weight.sum() ** 2 / (weight**2).sum()  # Kish's for unequal weights
    half = 1.96 * math.sqrt((1 / _PIT_BINS) * (1 - 1 / _PIT_BINS) / size) if size > 0 else _NAN
    return shares, (1 / _PIT_BINS - half, 1 / _PIT_BINS + half)


def _calls(rows: pd.DataFrame, overlap: int) -> pd.DataFrame:
    """Binned probabilities of a rise, observed frequencies, and their range for a calibrated forecaster."""
    found = reliability(
        rows["up"], rows["rose"], rows["date"].to_numpy(), bins=_RELIABILITY_BINS, binning="width", overlap=overlap
    )
    bins = [own for own in found.bins if own.n >= _MIN_PER_BIN]
    halves = [1.96 * math.sqrt(own.forecast * (1 - own.forecast) / max(1.0, own.observed.effective_n)) for own in bins]
    return pd.DataFrame(
        {
            "forecast": [own.forecast for own in bins],
            "observed": [own.observed.estimate for own in bins],
            "n": [own.n for own in bins],
            "low": [max(0.0, own.forecast - half) for own, half in zip(bins, halves, strict=True)],
            "high": [min(1.0, own.forecast + half) for own, half in zip(bins, halves, strict=True)],
        }
    )


def _coefficient_error(found: Coefficients) -> float:
    """The standard error of one coefficient: the mean's HAC standard error times √dates."""
    if not (math.isfinite(found.t_statistic) and found.t_statistic):
        return _NAN
    return abs(found.mean / found.t_statistic) * math.sqrt(found.dates)


def _typical(rows: pd.DataFrame, count: int) -> list[tuple[int, float]]:
    """Origins and scores: the median forecast of every group, then its quartiles and so on, up to a number."""
    selected: list[tuple[int, float]] = []
    ranked = {name: own.sort_values(["crps", "origin"]) for name, own in rows.groupby("group")}
    places = np.linspace(0, len(ranked) - 1, min(count, len(ranked))).round().astype(int)
    shown = [list(ranked)[place] for place in places]
    for level in (0.5, 0.25, 0.75, 0.1, 0.9):
        for name in shown:
            own = ranked[name]
            pick = own.iloc[round(level * (len(own) - 1))]
            if len(selected) < count and int(pick["origin"]) not in [origin for origin, _ in selected]:
                selected.append((int(pick["origin"]), float(pick["crps"])))
    return selected


def _worst(rows: pd.DataFrame) -> list[tuple[int, float]]:
    """Origins and scores of the largest scores, one per instrument."""
    rows = rows.sort_values("crps", ascending=False, kind="stable").drop_duplicates("series").head(_FANS)
    return list(zip(rows["origin"].tolist(), rows["crps"].tolist(), strict=True))
