"""Cells of tables: estimates with intervals, and the lowest loss."""

import math

import pytest

from kronos.metrics import Estimate
from kronos.reports import Table, TableCell, TableColumn, change_cell, lowest_marked, percent_cell


def estimate(value: float, low: float, high: float) -> Estimate:
    return Estimate(value, low, high, 0.95, "bootstrap", 100, 60.0, 80)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (percent_cell(estimate(0.02, -0.1, 0.1)), TableCell("2.0 %", "−10.0 to 10.0")),
        (percent_cell(estimate(0.02, math.nan, math.nan)), TableCell("2.0 %")),
        (percent_cell(estimate(math.nan, math.nan, math.nan)), TableCell("–")),
        (percent_cell(None), TableCell("–")),
        (change_cell(estimate(0.01, -0.02, 0.04)), TableCell("+0.010", "−0.020 to +0.040")),
        (change_cell(estimate(-0.01, math.nan, math.nan)), TableCell("−0.010")),
        (change_cell(None), TableCell("–")),
    ],
)
def test_estimates_are_shown_with_their_interval(cell, expected):
    assert cell == expected


def test_lowest_of_several_losses_is_marked():
    cells = lowest_marked([0.5, math.nan, 0.25])
    assert [(cell.text, cell.best) for cell in cells] == [("0.500", False), ("–", False), ("0.250", True)]
    assert not lowest_marked([0.5, math.nan])[0].best


def test_neighbouring_columns_share_their_group():
    columns = [TableColumn("name"), TableColumn("1", "CRPS"), TableColumn("8", "CRPS"), TableColumn("skill")]
    assert Table("caption", columns, []).column_groups == (("", 1), ("CRPS", 2), ("", 1))
    assert Table("caption", [TableColumn("name")], []).column_groups == ()
