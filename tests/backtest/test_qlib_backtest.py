"""The published mode against Qlib itself, on the same prices, scores and costs; `make test-qlib` sets it up."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from backtest.qlib_market import close_change, momentum_scores, simulated_market, sparse_scores, write_market
from kronos.backtest import BacktestResult, TradingCosts
from kronos.backtest.published import PublishedSettings, published_figures, run_published

pytestmark = pytest.mark.qlib
PANEL = simulated_market()
SCORES, SPARSE = momentum_scores(PANEL), sparse_scores(PANEL)
BENCHMARK = np.random.default_rng(3).normal(0.0003, 0.01, len(PANEL))
START, END = PANEL.dates[30], PANEL.dates[-2]  # Qlib needs a day of the calendar after the last one
SPAN = PANEL.rows(START, END)

BASE = PublishedSettings(k=10, drop=3, cash=2e6)
CASES: dict[str, PublishedSettings] = {
    "published": BASE,
    "hundred million": replace(BASE, cash=1e8),
    "without a minimum of days": replace(BASE, hold_days=0),
    "many holdings": replace(BASE, k=20, drop=5, hold_days=10),
    "nothing dropped": replace(BASE, drop=0),
    "one side of the limit": replace(BASE, limit_both_sides=False),
    "no limit": replace(BASE, price_limit=None),
    "at the close": replace(BASE, deal_price="close"),
    "small account": replace(BASE, cash=3e4),
    "all of the cash": replace(BASE, cash_share=1.0, cash=1.2e5),
    "high costs": replace(BASE, costs=TradingCosts(0.01, 0.02, 50.0), cash=1e5),
}


def qlib_options(settings: PublishedSettings, *, ordered: bool) -> dict[str, object]:
    """The same settings in Qlib's words."""
    return {
        "ordered": ordered,
        "start": f"{START:%Y-%m-%d}",
        "end": f"{END:%Y-%m-%d}",
        "account": settings.cash,
        "strategy": {
            "topk": settings.k,
            "n_drop": settings.drop,
            "hold_thresh": settings.hold_days,
            "risk_degree": settings.cash_share,
            "forbid_all_trade_at_limit": settings.limit_both_sides,
        },
        "exchange": {
            # None would be Qlib's own default of 9.5 %.
            "limit_threshold": 1e9 if settings.price_limit is None else settings.price_limit,
            "deal_price": settings.deal_price,
            "open_cost": settings.costs.open_rate,
            "close_cost": settings.costs.close_rate,
            "min_cost": settings.costs.minimum,
        },
    }


def qlib_python() -> str:
    named = os.environ.get("KRONOS_QLIB_PYTHON", "")
    if not named and importlib.util.find_spec("qlib") is None:
        pytest.skip("needs the real pyqlib in an environment of its own: `make test-qlib` sets it up and runs this")
    python = shutil.which(named or sys.executable)
    if python is None:
        pytest.fail(f"KRONOS_QLIB_PYTHON={named} is not a Python interpreter")
    return str(Path(python).absolute())


def run_qlib(
    folder: Path,
    cases: Mapping[str, PublishedSettings],
    scores: np.ndarray,
    *,
    ordered: bool = False,
    factor: bool = True,
) -> dict[str, np.ndarray]:
    """Reports of Qlib, by case and column."""
    python = qlib_python()
    market = write_market(folder / "market", PANEL, with_factor=factor)
    table = pd.DataFrame(scores, index=PANEL.dates, columns=list(PANEL.instruments)).assign(benchmark=BENCHMARK)
    table.to_csv(folder / "signals.csv")
    options = {name: qlib_options(one, ordered=ordered) for name, one in cases.items()}
    (folder / "cases.json").write_text(json.dumps(options), "utf-8")
    script = Path(__file__).with_name("qlib_backtest.py")
    paths = [market, folder / "signals.csv", folder / "cases.json", folder / "out.npz"]
    done = subprocess.run(
        [python, str(script), *map(str, paths)],
        capture_output=True, text=True, check=False, cwd=folder, env={**os.environ, "HOME": str(folder)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    with np.load(folder / "out.npz") as arrays:
        return {name: arrays[name] for name in arrays.files}


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    return run_qlib(tmp_path_factory.mktemp("qlib"), CASES, SCORES)


def check(ours: BacktestResult, theirs: Mapping[str, np.ndarray], factor: np.ndarray) -> None:
    """Every day has the same positions, net asset value, cash, returns, turnover and costs, and so the figures."""
    np.testing.assert_array_equal(theirs["dates"], ours.dates.as_unit("s").asi8)
    np.testing.assert_array_equal(np.rint(theirs["amounts"] * factor), ours.positions)
    np.testing.assert_allclose(ours.net_asset_value, theirs["account"], rtol=1e-9)
    np.testing.assert_allclose(ours.cash, theirs["cash"], rtol=1e-9, atol=1e-4)
    np.testing.assert_allclose(ours.returns_before_costs, theirs["return"], atol=1e-9)
    np.testing.assert_allclose(ours.turnover, theirs["turnover"], atol=1e-9)
    before = np.concatenate([[ours.start_cash], ours.net_asset_value[:-1]])
    np.testing.assert_allclose(ours.fees / before, theirs["cost"], atol=1e-9)
    figures = published_figures(ours, BENCHMARK[SPAN])
    found = [figures.annualised_return, figures.information_ratio, figures.max_drawdown]
    np.testing.assert_allclose(found, theirs["risk"], rtol=1e-6)


def of_case(reports: Mapping[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    return {key.removeprefix(f"{name}/"): values for key, values in reports.items() if key.startswith(f"{name}/")}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_published_mode_equals_qlib_every_day(reports, name):
    ours = run_published(PANEL, SCORES, CASES[name], change=close_change(PANEL), start=START, end=END)
    check(ours, of_case(reports, name), PANEL.last_factor[SPAN])


@pytest.mark.slow
def test_published_mode_equals_qlib_with_missing_scores(tmp_path):
    cases = {name: CASES[name] for name in ("published", "many holdings", "no limit")}
    theirs = run_qlib(tmp_path, cases, SPARSE, ordered=True)
    for name, settings in cases.items():
        ours = run_published(PANEL, SPARSE, settings, change=close_change(PANEL), start=START, end=END)
        check(ours, of_case(theirs, name), PANEL.last_factor[SPAN])


@pytest.mark.slow
def test_published_mode_equals_qlib_without_factors(tmp_path):
    theirs = run_qlib(tmp_path, {"adjusted": BASE}, SCORES, factor=False)
    panel = replace(PANEL, factor=np.full_like(PANEL.factor, np.nan))
    ours = run_published(panel, SCORES, BASE, change=close_change(PANEL), start=START, end=END)
    check(ours, of_case(theirs, "adjusted"), np.ones_like(PANEL.factor[SPAN]))
