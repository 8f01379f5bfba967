"""Membership of an index by date: files, survivorship, and what a backtest does with members only."""

import numpy as np
import pandas as pd
import pytest

from kronos.backtest import MarketPanel, TopkDropout, TradingCosts, TradingRules, run_backtest
from kronos.backtest.universe import Universe, unknown_membership
from kronos.errors import DataError

from backtest.candles import candles  # isort: skip

DATES = pd.bdate_range("2024-01-01", periods=60)


def write(tmp_path, text, name="members.csv"):
    path = tmp_path / name
    path.write_text(text, "utf-8")
    return path


def test_csv_and_qlib_files_say_the_same(tmp_path):
    csv = write(tmp_path, "start,end,instrument\n2024-01-02,2024-01-05,A\n2024-02-01,,A\n,2024-01-31,B\n")
    qlib = write(
        tmp_path, "A\t2024-01-02\t2024-01-05\nA\t2024-02-01\t2099-12-31\nB\t1999-01-01\t2024-01-31\n", "csi.txt"
    )
    one, other = Universe.read(csv), Universe.read(qlib)
    assert (one.name, other.name) == ("members", "csi")
    names = ["A", "B", "C"]
    members = one.members(DATES, names)
    assert np.array_equal(members, other.members(DATES, names))
    inside = (DATES <= "2024-01-05") & (DATES >= "2024-01-02") | (DATES >= "2024-02-01")
    assert np.array_equal(members[:, 0], inside)
    assert not members[:, 2].any()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("code,from,to\nA,2024-01-01,2024-02-01\n", "no column 'instrument'"),
        ("instrument,start,end\nA,soon,2024-02-01\n", "line 2: 'soon' is not a date"),
        ("instrument,start,end\nA,2024-02-01,2024-01-01\n", "the end comes first"),
        ("instrument,start,end\nA\n", "line 2: write an instrument"),
        ("instrument,start,end\n", "no members"),
    ],
)
def test_invalid_files_are_refused(tmp_path, text, problem):
    with pytest.raises(DataError, match=problem):
        Universe.read(write(tmp_path, text))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        Universe.read(tmp_path / "none.csv")


def test_an_instrument_outside_its_membership_is_neither_bought_nor_counted():
    names = ["A", "B", "C"]
    spans = {"A": (("2024-01-01", "2024-12-31"),), "B": (("2024-02-01", "2024-12-31"),)}
    panel = MarketPanel.from_candles({name: candles(name) for name in names}, membership=spans)
    scores = np.tile([1.0, 2.0, 3.0], (len(panel), 1))  # C, no member, has the best
    strategy = TopkDropout(2, 1, 0)
    rules = TradingRules.unrestricted()
    result = run_backtest(panel, scores, strategy, costs=TradingCosts.free(), rules=rules, cash=1e6)
    assert not result.positions[:, 2].any()
    entered = panel.dates.get_loc(pd.Timestamp("2024-02-01"))
    assert not result.positions[: entered + 1, 1].any()
    assert result.positions[-1, 1] > 0
    filtered = Universe("index", spans).filter(panel.dates, names, scores)
    assert np.isnan(filtered[:, 2]).all()
    assert np.isnan(filtered[entered - 1, 1])
    assert filtered[entered, 1] == 2.0


def test_what_is_unknown_is_said():
    spans = {f"M{i}": (("2020-01-01", "2030-01-01"),) for i in range(10)}
    universe = Universe("index", {**spans, "GONE": (("2010-01-01", "2015-01-01"),)})
    have = [f"M{i}" for i in range(10)]
    assert universe.warnings(DATES, have) == []
    stranger, survivors = universe.warnings(DATES, [*have[:8], "X"])
    assert stranger.startswith("1 instrument never belonged to index and cannot be bought: X.")
    assert "2 of 10 members of index have no candles" in survivors
    assert "M8" in survivors
    assert "no members from" in universe.warnings(DATES + pd.DateOffset(years=20), have)[0]
    assert "membership by date of these 3 instruments is unknown" in unknown_membership(["A", "B", "C"])


def test_days_that_the_file_does_not_cover_are_named():
    covered = Universe("index", {"A": (("2024-01-03", "2024-01-31"), ("2024-02-05", "2024-02-09"))})
    [warning] = covered.warnings(pd.bdate_range("2024-01-01", "2024-02-15"), ["A"])
    assert warning.startswith("index has no members on 8 of 34 days, from")
    for span in ("2024-01-01 to 2024-01-02", "2024-02-01 to 2024-02-02", "2024-02-12 to 2024-02-15"):
        assert span in warning
