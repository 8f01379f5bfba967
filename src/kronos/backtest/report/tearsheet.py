"""A tear sheet of quantstats for a study, written only if its figures are those of the study.

quantstats is an optional library (the extra ``quantstats``). By default it leaves out the days before the first trade,
compounds the daily risk-free rate, finds no drawdown where wealth is below its start throughout, and links an icon on
the web; `save_tearsheet` prevents each of these.
"""

from __future__ import annotations

import importlib.util
import logging
import math
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from kronos.atomic import atomic_path
from kronos.backtest.comparison import BacktestStudy
from kronos.backtest.performance import Performance
from kronos.errors import DataError, ParameterError

if TYPE_CHECKING:
    from types import ModuleType

_TOLERANCE = 1e-9  # relative: both compute with doubles
_FIGURES = {
    "sharpe": "Sharpe ratio",
    "volatility": "volatility",
    "cagr": "compounded return a year",
    "max_drawdown": "largest drawdown",
}
_ROWS = {"Sharpe": "sharpe", "Volatility (ann.)": "volatility", "CAGR": "cagr", "Max Drawdown": "max_drawdown"}
_ROW = re.compile(r"<tr><td[^>]*>([^<]*)</td><td[^>]*>[^<]*</td><td[^>]*>([^<]*)</td></tr>")
_ROUNDING = 0.0051  # of what a sheet shows with two decimals
_ICON = re.compile(r"\s*<link rel=\"shortcut icon\"[^>]*>")


def check_quantstats() -> None:
    """Refuse if quantstats is not installed, without importing it.

    Raises:
        ParameterError: If it is not installed.
    """
    if importlib.util.find_spec("quantstats") is None:
        raise ParameterError("Tear sheets need quantstats: install it with pip install 'kronos-forecast[quantstats]'.")


def save_tearsheet(study: BacktestStudy, path: str | Path) -> Path:
    """Write quantstats' tear sheet of a study's account beside its benchmark, as one HTML file.

    Args:
        study: The study, of daily bars.
        path: The HTML file.

    Returns:
        The file.

    Raises:
        ParameterError: If quantstats is not installed, or a bar is not a day.
        DataError: If quantstats' figures are not those of the study.
        StorageError: If the file cannot be written.
    """
    check_quantstats()
    own = study.performance
    if own.annualization.bars_a_day > 1 or own.annualization.unit not in ("days", "trading days", "configured"):
        raise ParameterError("quantstats has figures of daily returns only: make tear sheets of daily bars.")
    periods, risk_free = own.annualization.periods, _compounded(study)
    path = Path(path)
    with _unchanged_plots():
        import quantstats

        compare_figures(own, quantstats_figures(quantstats, _series(study), periods, risk_free))
        with atomic_path(path) as temporary, _all_drawdowns(quantstats):
            quantstats.reports.html(
                _series(study),
                benchmark=pd.Series(study.benchmark_returns, _dates(study), name=study.benchmark),
                rf=risk_free,
                title=f"{study.signal.name}, after costs",
                output=str(temporary),
                periods_per_year=periods,
                match_dates=False,
            )
            text = temporary.read_text("utf-8")
            compare_figures(own, shown_figures(text), shown=True)
            temporary.write_text(_ICON.sub("", text), "utf-8")
    return path


def quantstats_figures(
    quantstats: ModuleType, returns: pd.Series, periods: float, risk_free: float
) -> dict[str, float]:
    """What quantstats computes of some returns: ``sharpe``, ``volatility``, ``cagr`` and ``max_drawdown``.

    Args:
        quantstats: The library.
        returns: Returns by day.
        periods: Periods a year.
        risk_free: Risk-free rate a year, compounded.
    """
    stats: Any = quantstats.stats
    return {
        "sharpe": float(stats.sharpe(returns, rf=risk_free, periods=periods)),
        "volatility": float(stats.volatility(returns, periods=periods)),
        "cagr": float(stats.cagr(returns, periods=periods)),
        "max_drawdown": float(stats.max_drawdown(returns)),
    }


def shown_figures(sheet: str) -> dict[str, float]:
    """The figures of the account that a sheet shows; NaN where it shows none.

    Args:
        sheet: The HTML of a sheet with a benchmark.
    """
    found = dict.fromkeys(_FIGURES, math.nan)
    for label, cell in _ROW.findall(sheet):
        name = _ROWS.get(label.rstrip("﹪%"))
        number = cell.replace(",", "")
        if name is not None and re.fullmatch(r"-?[\d.]+%?", number):
            found[name] = float(number.rstrip("%")) / (100 if number.endswith("%") else 1)
    return found


def compare_figures(own: Performance, theirs: Mapping[str, float], *, shown: bool = False) -> None:
    """Refuse figures that are not those of a study.

    Args:
        own: The study's performance.
        theirs: quantstats' figures.
        shown: Whether they are those of a sheet, which are rounded.

    Raises:
        DataError: If a figure differs.
    """
    ours = {
        "sharpe": own.sharpe.estimate,
        "volatility": own.volatility,
        "cagr": own.annual_return_compounded,
        "max_drawdown": -own.drawdown.depth,
    }
    for name, value in ours.items():
        rounding = (_ROUNDING if name == "sharpe" else _ROUNDING / 100) if shown else _TOLERANCE * abs(value)
        if math.isfinite(value) and not abs(value - theirs[name]) <= max(rounding, 1e-12):  # NaN differs too
            raise DataError(
                f"The {_FIGURES[name]} is {value:.6g}, but {theirs[name]:.6g} by quantstats: no tear sheet was "
                f"written; install another version of quantstats."
            )


def _series(study: BacktestStudy) -> pd.Series:
    return pd.Series(study.result.returns, _dates(study), name=study.signal.name)


def _dates(study: BacktestStudy) -> pd.DatetimeIndex:
    """Days without a timezone, which is what quantstats compares."""
    return study.dates.tz_localize(None).normalize()


def _compounded(study: BacktestStudy) -> float:
    """The annual rate that quantstats turns into the daily rate of the study."""
    periods = study.performance.annualization.periods
    return float((1 + study.settings.performance.risk_free / periods) ** periods - 1)


@contextmanager
def _all_drawdowns(quantstats: ModuleType) -> Iterator[None]:
    """Let quantstats find drawdowns that begin on the first day, by a day without one before it."""
    stats: Any = quantstats.stats
    original = stats.drawdown_details

    def details(drawdown: pd.Series | pd.DataFrame) -> Any:
        before = drawdown.iloc[:1] * 0
        before.index = pd.DatetimeIndex(before.index) - pd.Timedelta(days=1)
        return original(pd.concat([before, drawdown]))

    stats.drawdown_details = details
    try:
        yield
    finally:
        stats.drawdown_details = original


@contextmanager
def _unchanged_plots() -> Iterator[None]:
    """Give back the settings of matplotlib that quantstats changes, and leave out its complaints about fonts."""
    import matplotlib

    fonts = logging.getLogger("matplotlib.font_manager")
    level = fonts.level
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fonts.setLevel(logging.ERROR)
        try:
            yield
        finally:
            fonts.setLevel(level)


__all__ = ["check_quantstats", "compare_figures", "quantstats_figures", "save_tearsheet", "shown_figures"]
