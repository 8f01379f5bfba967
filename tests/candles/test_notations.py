"""Files in generated notations give their table back exactly, or are refused: never another table.

``KRONOS_NOTATION_FILES=2500 pytest tests/candles/test_notations.py`` tries more of them.
"""

import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.candles.notations import NOW, Notation, generate

from kronos.candles import Candles, ReadOptions
from kronos.candles.io import load_candles
from kronos.errors import DataError

FILES = int(os.environ.get("KRONOS_NOTATION_FILES", "100"))
OPTIONS = ReadOptions(now=NOW)


def read(folder: Path, notation: Notation, options: ReadOptions = OPTIONS) -> Candles:
    path = folder / "candles.csv"
    path.write_bytes(notation.content)
    return load_candles(path, options)


def check_same(candles: Candles, notation: Notation) -> None:
    if any(finding.code == "number-notation" and finding.severity == "warning" for finding in candles.findings):
        return  # volumes such as 73.317 beside prices in cents: not silent, since the warning names the option
    order = np.argsort(notation.times.asi8, kind="stable")
    expected = notation.times[order]
    index = candles.index if expected.tz is None or candles.index.tz is None else candles.index.tz_convert("UTC")
    assert len(index) == len(expected), notation.choices
    assert (index.tz is None) == (expected.tz is None), notation.choices
    assert (index == expected).all(), (notation.choices, index[:3], expected[:3])
    values = candles.frame.to_numpy()[:, : notation.values.shape[1]]
    np.testing.assert_array_equal(values, notation.values[order], err_msg=str(notation.choices))


@pytest.mark.slow
@settings(max_examples=FILES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1))
@pytest.mark.timeout(0)
def test_the_table_or_a_refusal(tmp_path: Path, seed: int) -> None:
    notation = generate(seed)
    with suppress(DataError):
        check_same(read(tmp_path, notation), notation)


@pytest.mark.slow
def test_most_notations_are_read(tmp_path: Path) -> None:
    refused = 0
    for seed in range(60):
        notation = generate(seed)
        try:
            candles = read(tmp_path, notation)
        except DataError:
            refused += 1
        else:
            check_same(candles, notation)
    assert refused < 15
