"""A tear sheet has the study's figures, or is not written."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import matplotlib
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from backtest.studies import noise, random_market, study_of
from kronos.backtest.performance import Annualization, compounded, largest_drawdown
from kronos.backtest.report import tearsheet
from kronos.backtest.report.tearsheet import compare_figures, quantstats_figures, save_tearsheet, shown_figures
from kronos.backtest.sharpe import sharpe_moments
from kronos.cli import app
from kronos.errors import DataError, ParameterError

needs_quantstats = pytest.mark.skipif(
    importlib.util.find_spec("quantstats") is None, reason="quantstats is not installed: the extra quantstats"
)


@pytest.fixture(scope="module")
def study():
    market = random_market(days=200, count=12)
    return study_of(market, noise(market), random_signals=0)


@needs_quantstats
@pytest.mark.parametrize("risk_free", [0.0, 0.03])
@pytest.mark.parametrize("seed", range(5))
def test_figures_are_the_same(study, seed, risk_free):
    import quantstats

    rng = np.random.default_rng(seed)
    returns = np.concatenate([[0, 0, -0.05], rng.standard_t(4, 300) * 0.01 + rng.normal(0, 0.001)])
    dates = pd.bdate_range("2024-01-01", periods=len(returns))
    rate = (1 + risk_free / 252) ** 252 - 1
    theirs = quantstats_figures(quantstats, pd.Series(returns, dates), 252, rate)
    ours = {
        "sharpe": sharpe_moments(returns - risk_free / 252).sharpe * 252**0.5,
        "volatility": returns.std(ddof=1) * 252**0.5,
        "cagr": compounded(returns, 252),
        "max_drawdown": -largest_drawdown(returns, dates).depth,
    }
    assert theirs == pytest.approx(ours, rel=1e-9)


@needs_quantstats
@pytest.mark.slow
def test_the_sheet_has_the_figures_of_the_study_and_loads_nothing(study, tmp_path):
    # quantstats itself shows no drawdown here.
    assert np.all(np.cumprod(1 + study.result.returns) < 1)
    before = dict(matplotlib.rcParams)
    text = save_tearsheet(study, tmp_path / "sheet.html").read_text("utf-8")
    assert dict(matplotlib.rcParams) == before
    assert "favicon" not in text
    assert "<script" not in text
    own, shown = study.performance, shown_figures(text)
    assert shown["sharpe"] == pytest.approx(own.sharpe.estimate, abs=0.005)
    assert shown["max_drawdown"] == pytest.approx(-own.drawdown.depth, abs=5e-5)
    assert shown["volatility"] == pytest.approx(own.volatility, abs=5e-5)
    assert shown["cagr"] == pytest.approx(own.annual_return_compounded, abs=5e-5)


def test_other_figures_are_refused(study):
    own = study.performance
    same = {
        "sharpe": own.sharpe.estimate,
        "volatility": own.volatility,
        "cagr": own.annual_return_compounded,
        "max_drawdown": -own.drawdown.depth,
    }
    compare_figures(own, same)
    for name in same:
        with pytest.raises(DataError, match="by quantstats: no tear sheet was written"):
            compare_figures(own, same | {name: same[name] * 1.001})
        with pytest.raises(DataError):
            compare_figures(own, same | {name: float("nan")}, shown=True)
    compare_figures(own, {name: round(value, 4) for name, value in same.items()}, shown=True)
    with pytest.raises(DataError):
        compare_figures(own, {name: round(value, 4) for name, value in same.items()})


def test_figures_of_a_sheet_are_read_and_missing_ones_are_unknown():
    sheet = "".join(
        f"<tr><td>{label}</td><td>0.0%</td><td>{cell}</td></tr>"
        for label, cell in [("CAGR﹪", "-1,234.56%"), ("Sharpe", "-0.5"), ("Max Drawdown", "-"), ("Beta", "1")]
    )
    found = shown_figures(sheet)
    assert (found["cagr"], found["sharpe"]) == (-12.3456, -0.5)
    assert np.isnan([found["max_drawdown"], found["volatility"]]).all()


def test_bars_within_a_day_have_no_sheet(study, tmp_path, monkeypatch):
    monkeypatch.setattr(tearsheet, "check_quantstats", lambda: None)
    hourly = replace(study.performance, annualization=Annualization(252 * 7, "trading days", 7))
    other = replace(study, portfolios=(replace(study.portfolio, performance=hourly), *study.portfolios[1:]))
    with pytest.raises(ParameterError, match="daily returns only"):
        save_tearsheet(other, tmp_path / "sheet.html")


def test_without_the_library_the_fix_is_named(study, tmp_path, monkeypatch):
    monkeypatch.setattr(tearsheet.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ParameterError, match=r"pip install 'kronos-forecast\[quantstats\]'"):
        save_tearsheet(study, tmp_path / "sheet.html")
    assert list(tmp_path.iterdir()) == []


def test_the_command_refuses_before_forecasting(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tearsheet.importlib.util, "find_spec", lambda name: None)
    found = CliRunner().invoke(app, ["backtest", "missing.csv", "--tearsheet", "sheet.html"])
    assert isinstance(found.exception, ParameterError) or "kronos-forecast[quantstats]" in found.output
    found = CliRunner().invoke(app, ["backtest", "missing.csv", "--tearsheet", "sheet.pdf"])
    assert "sheet.pdf" in f"{found.exception}{found.output}"
