"""The tables of the backtest report, for the page and the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from kronos.backtest.comparison import BacktestStudy, Portfolio
from kronos.backtest.performance import Performance, largest_drawdown
from kronos.backtest.published import PublishedFigures, published_figures
from kronos.backtest.sharpe import sharpe_ratio
from kronos.backtest.verdicts import VerdictWord
from kronos.formatting import MISSING, format_number, percent
from kronos.metrics import Coefficients, Estimate
from kronos.reports import RowKind, Table, TableCell, TableColumn, TableRow, Tone, Translator

TONES: dict[VerdictWord, Tone] = {
    "evidence": "good",
    "beyond chance": "good",
    "better": "good",
    "own information": "good",
    "survives costs": "neutral",  # the return of these dates, however uncertain
    "same sign": "neutral",
    "no sign": "neutral",
    "little difference": "neutral",
    "no evidence": "neutral",
    "within trials": "neutral",
    "known factors": "neutral",
    "depends on fill": "bad",
    "rules add": "bad",
    "costs eat it": "bad",
    "nothing before costs": "bad",
    "worse": "bad",
    "suspected": "bad",
    "too few days": "unknown",
}
_KINDS: dict[str, RowKind] = {"signal": "raw", "naive": "baseline", "benchmark": "reference", "published": "baseline"}
_EMPTY = TableCell(MISSING)
_LEAST_P = 0.001  # below which the digits of a p-value say nothing


class BacktestTables:
    """Builds the tables of one study in one language.

    Args:
        study: The study.
        t: The language of headings and captions.
    """

    def __init__(self, study: BacktestStudy, t: Translator) -> None:
        self._study = study
        self._t = t

    def text(self, key: str, **values: object) -> str:
        """A message of the report."""
        return self._t(f"backtest.{key}", **values)

    def every(self) -> list[Table]:
        """All tables, the most important first."""
        study = self._study
        found = [self.comparison(), self.returns(), self.luck(), self.costs(), self.execution()]
        if study.published is not None:
            found.append(self.modes(study.published))
        found += [self.signal(), self.decay()]
        if study.quality.exposures:
            found.append(self.exposures())
        return [*found, self.years(), self.refused()]

    # Portfolios --------------------------------------------------------------

    def comparison(self) -> Table:
        """The signal beside naive signals and benchmarks."""
        columns = ("annual", "compounded", "excess", "information_ratio", "sharpe", "drawdown", "turnover", "costs")
        rows = [self._portfolio(own) for own in self._study.portfolios]
        return self._table("comparison", "portfolio", columns, rows, benchmark=self._benchmark)

    def _portfolio(self, own: Portfolio) -> TableRow:
        kind = _KINDS[own.kind]
        mark, name = self.text(f"kinds.{own.kind}"), self._name(own)
        if own.performance is None:
            return TableRow(name, self._index(), kind, mark)
        performance = own.performance
        is_benchmark = own.name == self._study.benchmark
        cells = [
            _share(performance.annual_return),
            _share(performance.annual_return_compounded),
            _EMPTY if is_benchmark else _share(performance.excess_return),
            _EMPTY if is_benchmark else _ratio(performance.information_ratio),
            _ratio(performance.sharpe),
            _share(-performance.drawdown.depth),
            _times(performance.costs.turnover_a_year),
            _share(performance.costs.fees_a_year + performance.costs.slippage_a_year),
        ]
        return TableRow(name, cells, kind, mark)

    def _index(self) -> list[TableCell]:
        """Figures of a benchmark of which returns are all that is known, such as an index."""
        study, own = self._study, self._study.performance
        settings, periods = study.settings.performance, own.annualization.periods
        sharpe = sharpe_ratio(
            study.benchmark_returns - settings.risk_free / periods,
            periods_a_year=periods,
            confidence=settings.confidence,
            repetitions=settings.repetitions,
            seed=settings.seed,
        )
        fall = largest_drawdown(study.benchmark_returns, study.dates)
        known = [_share(own.benchmark_return), _share(own.benchmark_compounded), _EMPTY, _EMPTY]
        return [*known, _ratio(sharpe), _share(-fall.depth), _EMPTY, _EMPTY]

    def returns(self) -> Table:
        """Returns and risk of the signal, one figure a row."""
        own = self._study.performance
        drop = own.drawdown
        dates = self.text(
            "drawdown_dates",
            peak=f"{drop.peak:%Y-%m-%d}",
            trough=f"{drop.trough:%Y-%m-%d}",
            recovery=self.text("not_recovered") if drop.recovery is None else f"{drop.recovery:%Y-%m-%d}",
            days=drop.days,
        )
        values = {
            "annual": _share(own.annual_return),
            "compounded": _share(own.annual_return_compounded),
            "total": _share(own.total_return),
            "excess": _share(own.excess_return),
            "excess_compounded": _share(own.excess_compounded),
            "information_ratio": _ratio(own.information_ratio),
            "volatility": _share(own.volatility),
            "tracking_error": _share(own.tracking_error),
            "drawdown": TableCell(percent(-drop.depth), dates),
            "hit_rate": _interval(own.hit_rate),
            "shape": TableCell(f"{format_number(own.skewness, 2)}, {format_number(own.kurtosis, 1)}"),
        }
        return self._figures("returns", values, basis=self.basis, benchmark=self._benchmark)

    def luck(self) -> Table:
        """How much of the Sharpe ratio may be luck."""
        own, chance = self._study.performance, self._study.chance
        needed = own.track_record
        values = {
            "sharpe": _ratio(own.sharpe),
            "probabilistic_sharpe": _share(own.probabilistic_sharpe),
            "trials": TableCell(f"{own.trials:,}"),
            "expected_max_sharpe": TableCell(format_number(own.expected_max_sharpe, 2)),
            "deflated_sharpe": _share(own.deflated_sharpe),
            "information_ratio": _ratio(own.information_ratio),
            "deflated_information": _share(own.deflated_information),
            "track_record": TableCell(f"{needed:,.0f}" if math.isfinite(needed) else MISSING),
        }
        if chance is not None:
            middle = float(np.median(chance.sharpes)) if len(chance.sharpes) else math.nan
            values["random"] = TableCell(format_number(middle, 2), self.text("of_random", count=len(chance.sharpes)))
            values["p_value"] = TableCell(_p_value(chance.p_value))
        return self._figures("luck", values)

    def costs(self) -> Table:
        """Costs taken apart."""
        own = self._study.performance
        costs = own.costs
        values = {
            "before_costs": _share(self.before_costs),
            "fees": TableCell(percent(costs.fees_a_year, 2), format_number(costs.fees, 2)),
            "slippage": TableCell(percent(costs.slippage_a_year, 2), format_number(costs.slippage, 2)),
            "after_costs": _share(self.after_costs),
            "sharpe_before_costs": TableCell(format_number(own.sharpe_before_costs, 2)),
            "turnover": _times(costs.turnover_a_year),
            "break_even": TableCell(_basis_points(costs.break_even)),
        }
        return self._figures("costs", values, benchmark=self._benchmark)

    @property
    def basis(self) -> str:
        """Periods a year, in the language of the page."""
        own = self._study.performance.annualization
        words = self.text(f"periods.{own.unit.replace(' ', '_')}", periods=f"{own.periods:g}", bars=own.bars_a_day)
        if math.isnan(own.observed):
            return words
        return words + self.text("periods_observed", observed=f"{own.observed:.0f}")

    @property
    def before_costs(self) -> float:
        """Annual excess return before costs."""
        return self._study.performance.excess_before_costs

    @property
    def after_costs(self) -> float:
        """Annual excess return after costs."""
        return self._study.performance.excess_return

    # Execution ---------------------------------------------------------------

    def execution(self) -> Table:
        """Fills at the open and at the close, and one bar later."""
        study = self._study
        rows = [
            TableRow(
                self.text(f"fills.{price}"),
                self._run(own),
                mark=self.text("as_configured") if price == study.setup.rules.deal_price else "",
            )
            for price, own in study.fills.items()
        ]
        rows.append(TableRow(self.text("fills.later"), self._run(study.delayed)))
        return self._table("execution", "fill", _RUN, rows, benchmark=self._benchmark)

    def modes(self, published: Portfolio) -> Table:
        """The published mode beside the corrected one, and the gap."""
        assert published.result is not None
        assert published.performance is not None
        own, other = self._study.performance, published.performance
        reference = self._study.benchmark_returns
        ours = published_figures(self._study.result, reference)
        theirs = published_figures(published.result, reference)
        rows = [
            TableRow(self.text("modes.published"), [*self._run(other), *_published(theirs)]),
            TableRow(self.text("modes.corrected"), [*self._run(own), *_published(ours)]),
            TableRow(
                self.text("modes.gap"),
                [
                    self._points(other.excess_return - own.excess_return),
                    TableCell(format_number(_estimate(other) - _estimate(own), 2)),
                    TableCell(format_number(other.sharpe.estimate - own.sharpe.estimate, 2)),
                    self._points(own.drawdown.depth - other.drawdown.depth),
                    _times(other.costs.turnover_a_year - own.costs.turnover_a_year),
                    self._points(theirs.annualised_return - ours.annualised_return),
                    TableCell(format_number(theirs.information_ratio - ours.information_ratio, 2)),
                ],
                separator=True,
            ),
        ]
        columns = (*_RUN, "published_return", "published_ratio")
        return self._table("modes", "mode", columns, rows, benchmark=self._benchmark)

    def _points(self, value: float) -> TableCell:
        """A difference of shares in percentage points."""
        if not math.isfinite(value):
            return _EMPTY
        return TableCell(self.text("percentage_points", value=format_number(100 * value, 1)))

    def _run(self, own: Performance) -> list[TableCell]:
        return [
            _share(own.excess_return),
            _ratio(own.information_ratio),
            _ratio(own.sharpe),
            _share(-own.drawdown.depth),
            _times(own.costs.turnover_a_year),
        ]

    def refused(self) -> Table:
        """Orders that were not carried out, by reason."""
        refused = self._study.result.refused
        counts = refused.groupby(["reason", "side"]).size().unstack(fill_value=0) if len(refused) else None
        reasons = [] if counts is None else list(counts.index)
        rows = [
            TableRow(
                self.text(f"reasons.{str(reason).replace(' ', '_')}"),
                [
                    TableCell(f"{int(counts.loc[reason].get(side, 0)):,}" if counts is not None else MISSING)
                    for side in ("buy", "sell")
                ],
            )
            for reason in reasons
        ]
        trades = self._study.result.trades["side"].value_counts()
        carried = [TableCell(f"{int(trades.get(side, 0)):,}") for side in ("buy", "sell")]
        rows.append(TableRow(self.text("carried_out"), carried, separator=bool(rows)))
        return self._table("refused", "reason", ("purchases", "sales"), rows)

    # Signal ------------------------------------------------------------------

    def signal(self) -> Table:
        """Information coefficients."""
        quality = self._study.quality
        found = {"ic": quality.ic, "rank_ic": quality.rank_ic}
        if quality.neutral_rank_ic is not None:
            found["neutral_rank_ic"] = quality.neutral_rank_ic
        rows = [TableRow(self.text(f"figures.{name}"), _coefficients(own)) for name, own in found.items()]
        question = quality.question
        price = self.text(f"prices.{question.deal_price}")
        return self._table("signal", "coefficient", _COEFFICIENTS, rows, bars=self.bars(question.horizon), price=price)

    def decay(self) -> Table:
        """Rank coefficients by lag."""
        found = self._study.quality.decay
        rows = [TableRow(str(lag), _coefficients(own)) for lag, own in found.items()]
        return self._table("decay", "lag", _COEFFICIENTS, rows)

    def exposures(self) -> Table:
        """Rank correlations of the scores with known factors."""
        found = self._study.quality.exposures
        rows = [TableRow(self.text(f"factors.{name}"), _coefficients(own)) for name, own in found.items()]
        return self._table("exposures", "factor", _COEFFICIENTS, rows)

    # Years -------------------------------------------------------------------

    def years(self) -> Table:
        """Figures by calendar year."""
        rows = [
            TableRow(
                str(own.year),
                [
                    TableCell(str(own.days)),
                    _share(own.total_return),
                    _share(own.benchmark_return),
                    TableCell(format_number(own.sharpe, 2)),
                    _share(-own.max_drawdown),
                    _times(own.turnover),
                    _share(own.costs),
                ],
            )
            for own in self._study.performance.years
        ]
        columns = ("days", "return", "benchmark", "sharpe", "drawdown", "turnover", "costs")
        return self._table("years", "year", columns, rows, benchmark=self._benchmark)

    # Verdicts ----------------------------------------------------------------

    def verdict_figures(self) -> dict[str, str]:
        """The figures that verdicts follow from, written for the messages of a language."""
        study = self._study
        own, quality, published = study.performance, study.quality, study.published
        against = own.information_ratio is not None
        ratio = own.information_ratio or own.sharpe
        deflated = own.deflated_information if against else own.deflated_sharpe
        lags = [one.mean for one in quality.decay.values()]
        even = own.costs.break_even
        left, other = quality.neutral_rank_ic, None if published is None else published.performance
        numbers = {
            "ratio": format_number(ratio.estimate, 2),
            "low": format_number(ratio.low, 2),
            "high": format_number(ratio.high, 2),
            "p_value": MISSING if study.chance is None else format_number(study.chance.p_value, 2),
            "sharpe_before": format_number(own.sharpe_before_costs, 2),
            "sharpe_later": format_number(study.delayed.sharpe_before_costs, 2),
            "ic_now": format_number(lags[0]) if lags else MISSING,
            "ic_then": format_number(lags[1]) if len(lags) > 1 else MISSING,
            "rank_ic": format_number(quality.rank_ic.mean),
            "rank_t": format_number(quality.rank_ic.t_statistic, 1),
            "neutral_ic": MISSING if left is None else format_number(left.mean),
            "neutral_t": MISSING if left is None else format_number(left.t_statistic, 1),
        }
        shares = {
            "before": _before_costs(own),
            "after": _excess(own),
            "published": math.nan if other is None else _before_costs(other),
            **{f"at_{price}": _excess(fill) for price, fill in study.fills.items()},
        }
        return {
            **numbers,
            **{key: percent(value) for key, value in shares.items()},
            "ratio_name": self.text("figures.information_ratio" if against else "figures.sharpe"),
            "deflated": percent(deflated, 0),
            "selection": self.text(
                "selection.many" if own.trials > 1 else "selection.one",
                trials=f"{own.trials:,}",
                expected=format_number(own.expected_max_sharpe, 2),
            ),
            "random_signals": "0" if study.chance is None else f"{len(study.chance.sharpes):,}",
            "turnover": format_number(own.costs.turnover_a_year, 1),
            # A loss before costs has no costs at which it breaks even.
            "break_even": self.text("break_even_at", value=_basis_points(even)) if even > 0 else "",
        }

    # Helpers -----------------------------------------------------------------

    def bars(self, count: int) -> str:
        """A number of bars in words."""
        return self.text("bars.one") if count == 1 else self.text("bars.many", count=count)

    def name(self, own: Portfolio) -> str:
        """A portfolio's name in the language of the page."""
        return self._name(own)

    def _name(self, own: Portfolio) -> str:
        key = f"backtest.portfolios.{own.name.replace(' ', '_').replace('-', '_')}"
        return self._t(key) if own.kind != "signal" and key in self._t.keys else own.name

    @property
    def _benchmark(self) -> str:
        return self._name(self._study.named(self._study.benchmark))

    def _table(
        self, name: str, first: str, columns: Sequence[str], rows: Sequence[TableRow], **values: object
    ) -> Table:
        heads = [TableColumn(self.text(f"columns.{first}"), number=False)]
        # A single figure a row stands beside its name rather than at the far end of the page.
        heads += [TableColumn(self.text(f"columns.{column}"), number=column != "value") for column in columns]
        return Table(self.text(f"captions.{name}", **values), heads, rows)

    def _figures(self, name: str, values: dict[str, TableCell], **words: object) -> Table:
        rows = [TableRow(self.text(f"figures.{key}"), [cell]) for key, cell in values.items()]
        return self._table(name, "figure", ("value",), rows, **words)


_RUN = ("excess", "information_ratio", "sharpe", "drawdown", "turnover")
_COEFFICIENTS = ("mean", "deviation", "icir", "t", "p", "dates")


def _share(value: float) -> TableCell:
    return TableCell(percent(value))


def _p_value(value: float) -> str:
    return f"< {_LEAST_P}" if value < _LEAST_P else format_number(value, 3)


def _basis_points(value: float) -> str:
    return f"{format_number(1e4 * value, 1)} bp" if math.isfinite(value) else MISSING


def _excess(own: Performance) -> float:
    """Annual return in excess of the benchmark; the return itself without one."""
    return own.annual_return if own.information_ratio is None else own.excess_return


def _before_costs(own: Performance) -> float:
    return own.return_before_costs if own.information_ratio is None else own.excess_before_costs


def _times(value: float) -> TableCell:
    return TableCell(f"{format_number(value, 1)} ×" if math.isfinite(value) else MISSING)


def _ratio(estimate: Estimate | None) -> TableCell:
    """A ratio with its interval."""
    if estimate is None or not math.isfinite(estimate.estimate):
        return _EMPTY
    low, high = format_number(estimate.low, 2), format_number(estimate.high, 2)
    return TableCell(format_number(estimate.estimate, 2), f"{low} … {high}" if math.isfinite(estimate.low) else "")


def _estimate(own: Performance) -> float:
    """The information ratio; NaN without a benchmark."""
    return math.nan if own.information_ratio is None else own.information_ratio.estimate


def _interval(estimate: Estimate) -> TableCell:
    if not math.isfinite(estimate.estimate):
        return _EMPTY
    low, high = percent(estimate.low), percent(estimate.high)
    return TableCell(percent(estimate.estimate), f"{low} … {high}" if math.isfinite(estimate.low) else "")


def _published(own: PublishedFigures) -> list[TableCell]:
    return [_share(own.annualised_return), TableCell(format_number(own.information_ratio, 2))]


def _coefficients(own: Coefficients) -> list[TableCell]:
    interval = f"{format_number(own.low)} … {format_number(own.high)}" if math.isfinite(own.low) else ""
    return [
        TableCell(format_number(own.mean), interval),
        TableCell(format_number(own.deviation)),
        TableCell(format_number(own.icir, 2)),
        TableCell(format_number(own.t_statistic, 1)),
        TableCell(_p_value(own.p_value)),
        TableCell(f"{own.dates:,}"),
    ]


__all__ = ["TONES", "BacktestTables"]
