"""The study as a JSON document: figures, curves, verdicts and where everything comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import pandas as pd

from kronos.backtest.comparison import BacktestSetup, BacktestStudy, Portfolio
from kronos.backtest.performance import Performance
from kronos.backtest.published import published_figures
from kronos.formatting import json_safe
from kronos.metrics import Coefficients

VERSION = 1  # of the document


def study_document(study: BacktestStudy) -> dict[str, Any]:
    """Return a study as JSON values; numbers that are not finite are null."""
    document = {
        "version": VERSION,
        "signal": {"name": study.signal.name, "metadata": plain(study.signal.metadata)},
        "setup": _setup(study.setup),
        "settings": plain(study.settings),
        "benchmark": study.benchmark,
        "verdicts": [plain(verdict) for verdict in study.verdicts],
        "warnings": list(study.warnings),
        "performance": _performance(study.performance),
        "portfolios": [_portfolio(own) for own in study.portfolios],
        "fills": {price: _performance(own) for price, own in study.fills.items()},
        "delayed": _performance(study.delayed),
        "published": _published(study),
        "random_signals": plain(study.chance),
        "signal_quality": _quality(study),
        "refused": _refused(study.result.refused),
        "daily": _daily(study),
        "provenance": plain(study.provenance),
    }
    safe: dict[str, Any] = json_safe(document)
    return safe


def plain(value: Any) -> Any:
    """Dataclasses, arrays, times and mappings as JSON values."""
    if is_dataclass(value) and not isinstance(value, type):
        return {own.name: plain(getattr(value, own.name)) for own in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(own) for key, own in value.items()}
    if isinstance(value, list | tuple):
        return [plain(own) for own in value]
    if isinstance(value, pd.DatetimeIndex):
        return [time.isoformat() for time in value]
    if isinstance(value, pd.Timestamp):
        return value.isoformat()
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    return value if value is None or isinstance(value, str | bool | int | float) else str(value)


def _setup(setup: BacktestSetup) -> dict[str, Any]:
    dates = setup.panel.dates
    return {
        "strategy": {"name": type(setup.strategy).__name__, **attributes(setup.strategy)},
        "costs": plain(setup.costs),
        "rules": plain(setup.rules),
        "cash": setup.cash,
        "start": plain(setup.start),
        "end": plain(setup.end),
        "instruments": len(setup.panel.instruments),
        "panel": {"first": dates[0].isoformat(), "last": dates[-1].isoformat(), "days": len(dates)},
    }


def attributes(strategy: object) -> dict[str, Any]:
    """Attributes of a strategy that is a dataclass; nothing is known of others."""
    return dict(plain(strategy)) if is_dataclass(strategy) else {}


def _performance(own: Performance | None) -> dict[str, Any] | None:
    return None if own is None else dict(plain(own))


def _portfolio(own: Portfolio) -> dict[str, Any]:
    return {"name": own.name, "kind": own.kind, "performance": _performance(own.performance)}


def _published(study: BacktestStudy) -> dict[str, Any] | None:
    mode = study.published
    if mode is None or mode.result is None:
        return None
    reference = study.benchmark_returns
    return {
        "performance": _performance(mode.performance),
        "qlib_figures": {
            "published": plain(published_figures(mode.result, reference)),
            "corrected": plain(published_figures(study.result, reference)),
        },
    }


def _quality(study: BacktestStudy) -> dict[str, Any]:
    quality = study.quality
    return {
        "question": plain(quality.question),
        "instruments": quality.instruments,
        "across_instruments": quality.across_instruments,
        "ic": _summary(quality.ic),
        "rank_ic": _summary(quality.rank_ic),
        "neutral_rank_ic": None if quality.neutral_rank_ic is None else _summary(quality.neutral_rank_ic),
        "daily_rank_ic": {"dates": plain(quality.dates), "values": plain(quality.rank_ic.values)}
        if quality.across_instruments
        else None,
        "decay": {lag: _summary(own) for lag, own in quality.decay.items()},
        "exposures": {name: _summary(own) for name, own in quality.exposures.items()},
        "quantiles": [plain(own) for own in quality.quantiles],
        "spread": plain(quality.spread),
    }


def _summary(own: Coefficients) -> dict[str, Any]:
    """Coefficients without the series behind them."""
    return {
        field.name: plain(getattr(own, field.name))
        for field in fields(own)
        if field.name not in ("keys", "values", "counts")
    }


def _refused(refused: pd.DataFrame) -> list[dict[str, Any]]:
    counts = refused.groupby(["reason", "side"]).size().rename("orders").reset_index()
    rows: list[dict[str, Any]] = plain(counts.to_dict("records"))
    return rows


def _daily(study: BacktestStudy) -> dict[str, Any]:
    result = study.result
    return {
        "dates": plain(study.dates),
        "net_asset_value": plain(result.net_asset_value),
        "returns": plain(result.returns),
        "benchmark_returns": plain(study.benchmark_returns),
        "turnover": plain(result.turnover),
        "fees": plain(result.fees),
        "slippage": plain(result.slippage),
        "holdings": plain(result.holdings),
    }


__all__ = ["attributes", "plain", "study_document"]
