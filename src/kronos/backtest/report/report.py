"""The backtest report: one self-contained HTML page, for readers who do not know the project.

    BacktestReport(study).save(Path("out/backtest.html"))

The verdicts come first, then warnings, figures, curves and definitions. Everything on the page comes from the
`BacktestStudy`.
"""

from __future__ import annotations

import json
from typing import Any

from kronos.backtest.comparison import BacktestStudy
from kronos.backtest.report.document import attributes, plain
from kronos.backtest.report.figures import BacktestFigures
from kronos.backtest.report.tables import TONES, BacktestTables
from kronos.backtest.verdicts import (
    COLLAPSE,
    DEFLATED,
    IMPLAUSIBLE_IC,
    IMPLAUSIBLE_SHARPE,
    MIN_DAYS,
    PUBLISHED_GAP,
    SUSPICIOUS_IC,
    SUSPICIOUS_SHARPE,
    BacktestVerdict,
    VerdictSubject,
)
from kronos.formatting import MISSING, format_number, percent
from kronos.reports import PageOptions, ReportPage, format_versions, inline_figures

_SECTIONS = (
    "verdict",
    "warnings",
    "figures",
    "curves",
    "signal",
    "chance",
    "costs",
    "execution",
    "years",
    "definitions",
    "provenance",
)
_CARDS: dict[str, tuple[VerdictSubject, ...]] = {
    "luck": ("edge", "trials", "random", "leak"),
    "substance": ("costs", "ranking", "factors", "fills", "published"),
}
_DEFAULT_OPTIONS = PageOptions()


class BacktestReport(ReportPage):
    """The report as a page, rendered by `render` and written by `save`.

    Args:
        study: The study.
        options: Appearance and language; warnings are English.
    """

    template = "backtest.html"
    area = "backtest"

    def __init__(self, study: BacktestStudy, options: PageOptions = _DEFAULT_OPTIONS) -> None:
        super().__init__(options)
        self._study = study
        self._tables = BacktestTables(study, self.t)
        self._figures = BacktestFigures(study, self._tables, options.theme, options.palette)

    @property
    def title(self) -> str:
        """The default title."""
        return self.text("title", signal=self._study.signal.name)

    def content(self) -> dict[str, Any]:
        """Return the values of the template's variables."""
        study, tables, figures = self._study, self._tables, self._figures
        return {
            "lead": self._lead(),
            "sections": _SECTIONS,
            "facts": self._facts(),
            "cards": [self._card(name, subjects) for name, subjects in _CARDS.items()],
            "warnings": list(study.warnings),
            "comparison": tables.comparison(),
            "returns": tables.returns(),
            "curves": inline_figures([*figures.wealth(), *figures.drawdown()]),
            "signal_words": self.text("signal_words" if study.quality.across_instruments else "signal_over_time"),
            "signal_tables": self._signal_tables(),
            "signal_figures": inline_figures([*figures.coefficients(), *figures.decay()]),
            "chance_words": self._chance_words(),
            "luck": tables.luck(),
            "chance_figures": inline_figures(figures.chance()),
            "costs": tables.costs(),
            "cost_figures": inline_figures(figures.costs()),
            "execution": tables.execution(),
            "modes": None if study.published is None else tables.modes(study.published),
            "refused": tables.refused(),
            "years": tables.years(),
            "definitions": self._definitions(),
            "provenance": self._provenance(),
            "folded": self._folded(),
            "footer": self._footer(),
        }

    def _lead(self) -> str:
        rules = self._study.setup.rules
        return self.text(
            "lead",
            strategy=self._strategy_words(),
            instruments=f"{len(self._study.setup.panel.instruments):,}",
            days=f"{self._study.days:,}",
            bars=self._tables.bars(rules.lag),
            price=self.text(f"prices.{rules.deal_price}"),
        )

    def _strategy(self) -> str:
        strategy = self._study.setup.strategy
        inside = ", ".join(f"{name} {value}" for name, value in attributes(strategy).items())
        return f"{type(strategy).__name__} ({inside})" if inside else type(strategy).__name__

    def _strategy_words(self) -> str:
        """What the strategy does, for readers who do not know its name."""
        strategy = self._study.setup.strategy
        values = attributes(strategy)
        if f"backtest.strategies.{type(strategy).__name__}" not in self.t.keys:
            return self.text("strategies.other", name=self._strategy())
        if "fraction" in values:
            values["fraction"] = percent(values["fraction"], 0)
        if "hold_days" in values:
            values["held"] = self._tables.bars(values["hold_days"])
        return self.text(f"strategies.{type(strategy).__name__}", **values)

    def _facts(self) -> list[tuple[str, str]]:
        study, own = self._study, self._study.performance
        costs, rules = study.setup.costs, study.setup.rules
        facts = {
            "dates": self.text("dates", first=f"{own.first:%Y-%m-%d}", last=f"{own.last:%Y-%m-%d}"),
            "days": f"{study.days:,}",
            "instruments": f"{len(study.setup.panel.instruments):,}",
            "benchmark": self._tables.name(study.named(study.benchmark)),
            "cash": f"{study.setup.cash:,.0f}",
            "fees": self.text(
                "fees_value",
                buy=format_number(100 * costs.open_rate, 2),
                sell=format_number(100 * costs.close_rate, 2),
                minimum=f"{costs.minimum:g}",
            ),
            "slippage": f"{costs.slippage:g} bp",
            "fill": self.text(f"prices.{rules.deal_price}"),
            "trials": f"{own.trials:,}",
        }
        return self.labelled("facts", facts)

    def _card(self, name: str, subjects: tuple[VerdictSubject, ...]) -> dict[str, Any]:
        found = [own for subject in subjects for own in self._study.verdicts if own.about == subject]
        return {"name": self.text(f"cards.{name}"), "answers": [self._answer(own) for own in found]}

    def _answer(self, verdict: BacktestVerdict) -> dict[str, str]:
        trials = self._study.performance.trials
        reason = self.text(f"reasons_of.{verdict.about}", **self._tables.verdict_figures())
        if verdict.word == "suspected":
            reason = f"{self.text(f'advice.{verdict.about}')} {reason}"
        return {
            "about": self.text(f"about.{verdict.about}"),
            "answer": self.text(f"answers.{verdict.about}.{verdict.word.replace(' ', '_')}", trials=trials),
            "tone": TONES[verdict.word],
            "reason": reason,
        }

    def _signal_tables(self) -> list[Any]:
        tables = [self._tables.signal(), self._tables.decay()]
        return [*tables, self._tables.exposures()] if self._study.quality.exposures else tables

    def _chance_words(self) -> str:
        own, chance = self._study.performance, self._study.chance
        words = [
            self.text(
                "expected_max_line" if own.trials > 1 else "single_trial_line",
                trials=own.trials,
                expected=format_number(own.expected_max_sharpe, 2),
                sharpe=format_number(own.sharpe.estimate, 2),
                deflated=format_number(100 * own.deflated_sharpe, 0),
            )
        ]
        if own.information_ratio is not None:
            words.append(
                self.text(
                    "excess_line",
                    benchmark=self._tables.name(self._study.named(self._study.benchmark)),
                    ratio=format_number(own.information_ratio.estimate, 2),
                    deflated=format_number(100 * own.deflated_information, 0),
                )
            )
        if chance is not None:
            key = "random_dealt" if chance.across_instruments else "random_moved"
            words.append(self.text(key, count=len(chance.sharpes), persistence=format_number(chance.persistence, 2)))
        return " ".join(words)

    # Definitions and provenance ----------------------------------------------

    def _definitions(self) -> list[tuple[str, str]]:
        prefix = "backtest.definitions."
        names = [name for name in self.t.keys if name.startswith(prefix) and name.endswith(".term")]
        own = self._study.performance
        values = {
            "basis": self._tables.basis,
            "periods": f"{own.annualization.periods:g}",
            "benchmark": self._tables.name(self._study.named(self._study.benchmark)),
            "few": MIN_DAYS,
            "deflated": percent(DEFLATED, 0),
            "suspicious_sharpe": f"{SUSPICIOUS_SHARPE:g}",
            "suspicious_ic": f"{SUSPICIOUS_IC:g}",
            "collapse": percent(COLLAPSE, 0),
            "implausible_sharpe": f"{IMPLAUSIBLE_SHARPE:g}",
            "implausible_ic": f"{IMPLAUSIBLE_IC:g}",
            "published_gap": f"{100 * PUBLISHED_GAP:g}",
        }
        return [(self.t(name), self.t(f"{name.removesuffix('term')}words", **values)) for name in names]

    def _provenance(self) -> list[tuple[str, str]]:
        study = self._study
        rules, settings = study.setup.rules, study.settings
        values = {
            "created": str(study.provenance["created"]),
            "signal": study.signal.name,
            "strategy": self._strategy(),
            "rules": "; ".join(self._rules(market) for market in ("", *rules.markets)),
            "seeds": self.text("seeds_value", random=settings.seed, bootstrap=settings.performance.seed),
            "bootstrap": self.text(
                "bootstrap_value",
                repetitions=f"{settings.performance.repetitions:,}",
                block=format_number(study.performance.sharpe.block, 1),
            ),
            "versions": format_versions(study.provenance["versions"]),
        }
        return self.labelled("provenance", values)

    def _rules(self, market: str) -> str:
        """The rules of a market among several, or of all others."""
        rules = self._study.setup.rules
        own = rules.of(market)
        limit = MISSING
        if own.price_limit is not None and not self._study.setup.panel.is_longer_than_daily:
            limit = self.text(f"limit_value.{rules.limit_price}", limit=f"{100 * own.price_limit:g}")
        bars = self._tables.bars(rules.lag)
        words = self.text("rules_value", lot=own.lot_size, limit=limit, t_plus=own.t_plus, bars=bars)
        return f"{market}: {words}" if market else words

    def _folded(self) -> list[tuple[str, str]]:
        """The signal's own metadata, as it was stored."""
        if not self._study.signal.metadata:
            return []
        text = json.dumps(plain(self._study.signal.metadata), indent=1, ensure_ascii=False)
        return [(self.text("metadata"), text)]

    def _footer(self) -> str:
        made = self._study.provenance
        return self.text("footer", version=made["versions"].get("kronos", ""), created=made["created"])


__all__ = ["BacktestReport"]
