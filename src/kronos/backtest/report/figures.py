"""The figures of the backtest report, drawn by `kronos.plotting.backtest_plots` from a study."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from kronos.backtest.comparison import BacktestStudy
from kronos.backtest.performance import drawdowns, wealth_of
from kronos.backtest.report.tables import BacktestTables
from kronos.formatting import percent
from kronos.plotting.backtest_plots import (
    plot_coefficient_bars,
    plot_drawdowns,
    plot_intervals,
    plot_return_parts,
    plot_sharpe_distribution,
    plot_wealth,
)
from kronos.plotting.evaluation_canvas import GREY, PlotSeries
from kronos.plotting.evaluation_plots import plot_cumulative_ic
from kronos.plotting.style import Palette, Theme
from kronos.plotting.svg import inline_svg
from kronos.typing import FloatArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class BacktestFigures:
    """Draws the figures of a study as inline SVG.

    Args:
        study: The study.
        tables: Its tables, which also name the portfolios.
        theme: Colours outside a page that defines its own.
        palette: Colours of gains and losses, likewise.
    """

    def __init__(
        self, study: BacktestStudy, tables: BacktestTables, theme: Theme = "light", palette: Palette = "green-up"
    ) -> None:
        self._study, self._tables = study, tables
        self._theme, self._palette = theme, palette

    def wealth(self) -> list[str]:
        """Draw wealth: the signal with benchmarks, its excess over the benchmark, and the signal with naive signals."""
        study, name = self._study, self._tables.name
        named = {
            kind: {name(own): own.returns for own in reversed(study.portfolios) if own.kind == kind}
            for kind in ("benchmark", "naive")
        }
        own = study.result
        before, after = self._text("plots.before_costs", name=name(study.portfolio)), name(study.portfolio)
        published = {} if study.published is None else {name(study.published): study.published.returns}
        benchmarks = {**named["benchmark"], **published, before: own.returns_before_costs, after: own.returns}
        found = [
            self._wealth("wealth_benchmark", {label: wealth_of(returns) for label, returns in benchmarks.items()}),
            self._excess(),
        ]
        naive = {**named["naive"], after: own.returns}
        found.append(self._wealth("wealth_naive", {label: wealth_of(returns) for label, returns in naive.items()}))
        return found

    def _excess(self) -> str:
        """Wealth relative to that of the benchmark, before and after costs."""
        study = self._study
        reference = wealth_of(study.benchmark_returns)
        name = self._tables.name(study.portfolio)
        curves = {
            self._text("plots.before_costs", name=name): wealth_of(study.result.returns_before_costs) / reference,
            self._text("plots.after_costs", name=name): wealth_of(study.result.returns) / reference,
        }
        return self._wealth("excess", curves, benchmark=self._tables.name(study.named(study.benchmark)))

    def _wealth(self, key: str, curves: dict[str, FloatArray], **values: object) -> str:
        """Growth of 1 of some portfolios, the last one on top."""
        lines = {name: self._curve(own) for name, own in curves.items()}
        reference = self._tables.name(self._study.named(self._study.benchmark))
        hues = {name: len(curves) - 1 - place for place, name in enumerate(curves)}
        title = self._text(f"plots.{key}", **values)
        figure = plot_wealth(
            lines,
            [PlotSeries(name, GREY if name == reference else hue) for name, hue in hues.items()],
            title=title,
            subtitle=self._text("plots.excess_subtitle" if key == "excess" else "plots.wealth_subtitle"),
            empty=self._text("plots.empty"),
            theme=self._theme,
            palette=self._palette,
        )
        ends = "; ".join(f"{name}: {percent(float(own.iloc[-1]) - 1)}" for name, own in lines.items())
        return self._svg(figure, key.replace("_", "-"), title, ends)

    def drawdown(self) -> list[str]:
        """Draw drawdowns of the signal and the benchmark."""
        name = self._tables.name(self._study.portfolio)
        reference = self._tables.name(self._study.named(self._study.benchmark))
        curves = {
            reference: self._curve(drawdowns(self._study.benchmark_returns)),
            name: self._curve(drawdowns(self._study.result.returns)),
        }
        figure = plot_drawdowns(
            curves,
            [PlotSeries(reference, GREY), PlotSeries(name, 0)],
            title=self._text("plots.drawdown"),
            subtitle=self._text("plots.drawdown_subtitle"),
            theme=self._theme,
            palette=self._palette,
        )
        return [self._svg(figure, "drawdown", self._text("plots.drawdown"), percent(float(curves[name].min())))]

    def coefficients(self) -> list[str]:
        """Draw rank coefficients as bars and as a cumulative sum; none for coefficients over time."""
        quality = self._study.quality
        own, left = quality.rank_ic, quality.neutral_rank_ic
        if left is None or not len(quality.dates):
            return []
        daily = pd.Series(own.values, quality.dates)
        bars = plot_coefficient_bars(
            daily,
            title=self._text("plots.ic"),
            subtitle={
                "day": self._text("plots.ic_day"),
                "month": self._text("plots.ic_month"),
                "quarter": self._text("plots.ic_quarter"),
            },
            empty=self._text("plots.empty"),
            theme=self._theme,
            palette=self._palette,
        )
        names = self._text("figures.rank_ic"), self._text("figures.neutral_rank_ic")
        lines = {names[0]: daily, names[1]: pd.Series(left.values, self._dates(left.keys))}
        error = math.sqrt(own.dates) * abs(own.mean / own.t_statistic) if own.t_statistic else math.nan
        total = plot_cumulative_ic(
            lines,
            [PlotSeries(names[0], 0), PlotSeries(names[1], 1)],
            title=self._text("plots.cumulative_ic"),
            subtitle=self._text("plots.cumulative_ic_subtitle"),
            error=error,
            chance=self._text("plots.chance_range"),
            theme=self._theme,
            palette=self._palette,
        )
        description = f"{names[0]}: {own.mean:.3f}; {names[1]}: {left.mean:.3f}"
        return [
            self._svg(bars, "ic", self._text("plots.ic"), description),
            self._svg(total, "cumulative-ic", self._text("plots.cumulative_ic"), description),
        ]

    def decay(self) -> list[str]:
        """Draw the decay by lag, and returns by quantile where there are any."""
        quality = self._study.quality
        rows = [
            {"label": lag, "value": own.mean, "low": own.low, "high": own.high} for lag, own in quality.decay.items()
        ]
        found = [self._intervals("decay", rows)]
        if quality.quantiles:
            rows = [
                {"label": place, "value": own.estimate, "low": own.low, "high": own.high}
                for place, own in enumerate(quality.quantiles, start=1)
            ]
            found.append(self._intervals("quantiles", rows, shares=True))
        return found

    def chance(self) -> list[str]:
        """Draw Sharpe ratios of random signals with those of the signal and of naive ones."""
        study = self._study
        if study.chance is None or not len(study.chance.sharpes):
            return []
        performance = study.performance
        naive = [own for own in study.portfolios if own.kind == "naive" and own.performance is not None]
        # Lines above the histogram: the signal last, so that nothing covers it.
        marks = [
            (PlotSeries(self._tables.name(own), place, filled=False), own.performance.sharpe.estimate)
            for place, own in enumerate(naive, start=2)
            if own.performance is not None
        ]
        if performance.trials > 1:
            label = self._text("plots.expected_max", trials=performance.trials)
            marks.append((PlotSeries(label, 1), performance.expected_max_sharpe))
        marks.append((PlotSeries(study.signal.name, 0), performance.sharpe.estimate))
        figure = plot_sharpe_distribution(
            study.chance.sharpes,
            list(reversed(marks)),
            title=self._text("plots.chance"),
            subtitle=self._text("plots.chance_subtitle", count=len(study.chance.sharpes)),
            axis=self._text("plots.chance_axis"),
            theme=self._theme,
            palette=self._palette,
        )
        described = f"{study.signal.name}: {performance.sharpe.estimate:.2f}; p {study.chance.p_value:.3f}"
        return [self._svg(figure, "chance", self._text("plots.chance"), described)]

    def costs(self) -> list[str]:
        """Draw from the excess return before costs to that after."""
        own, tables = self._study.performance, self._tables
        parts = [
            (self._text("plots.before"), tables.before_costs),
            (self._text("plots.fees"), own.costs.fees_a_year),
            (self._text("plots.slippage"), own.costs.slippage_a_year),
            (self._text("plots.after"), tables.after_costs),
        ]
        figure = plot_return_parts(
            parts,
            title=self._text("plots.costs"),
            subtitle=self._text("plots.costs_subtitle"),
            theme=self._theme,
            palette=self._palette,
        )
        described = "; ".join(f"{name}: {percent(value)}" for name, value in parts)
        return [self._svg(figure, "costs", self._text("plots.costs"), described)]

    def _intervals(self, name: str, rows: list[dict[str, float]], *, shares: bool = False) -> str:
        figure = plot_intervals(
            pd.DataFrame(rows, columns=["label", "value", "low", "high"]).astype({"label": "int64"}),
            title=self._text(f"plots.{name}"),
            subtitle=self._text(f"plots.{name}_subtitle"),
            axis=self._text(f"plots.{name}_axis"),
            shares=shares,
            theme=self._theme,
            palette=self._palette,
        )
        described = "; ".join(f"{row['label']}: {row['value']:.4f}" for row in rows)
        return self._svg(figure, name, self._text(f"plots.{name}"), described)

    def _curve(self, values: FloatArray) -> pd.Series:
        return pd.Series(values, self._study.dates)

    def _dates(self, rows: npt.NDArray[Any]) -> pd.DatetimeIndex:
        return self._study.setup.panel.dates[rows.astype(np.int64)]

    def _text(self, key: str, **values: object) -> str:
        return self._tables.text(key, **values)

    def _svg(self, figure: Figure, key: str, title: str, description: str) -> str:
        return inline_svg(figure, key, title, description, theme=self._theme, palette=self._palette)


__all__ = ["BacktestFigures"]
