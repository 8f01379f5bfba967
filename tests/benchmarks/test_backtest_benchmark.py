"""The benchmark of backtests runs on a small market. No time is asserted."""

import numpy as np
import pytest

from benchmarks import backtest


def test_a_quick_run_prints_its_page(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["benchmarks.backtest", "--quick"])
    backtest.main()
    page = capsys.readouterr().out
    assert "A simulated market of 20 instruments and 60 days" in page
    for name in ("top 5, drop 2", "top 5, drop 2, published mode", "equal weights, daily", "buy and hold"):
        assert f"| {name} |" in page


def test_the_market_has_what_rules_are_about() -> None:
    panel = backtest.market(200, 30)
    assert panel.suspended.any()
    change = panel.close / panel.previous_close - 1
    assert (np.nan_to_num(change) > 0.095).any()
    results = {
        name: call() for name, call in backtest.runs(panel, np.random.default_rng(1).normal(size=(200, 30))).items()
    }
    assert all(len(result.trades) for result in results.values())
    assert any(len(result.refused) for result in results.values())
