"""Formulas in CSV files: names of files and columns, which spreadsheets would run."""

from __future__ import annotations

import sys

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kronos.formatting import escape_formulas

STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


@given(
    st.lists(st.text(max_size=8) | st.sampled_from(["=1+1", "+x", "-2", "@a", "\t=", "\r=", "\n=", "＝1"]), min_size=1),
    st.sampled_from([object, "string", "category"]),
)
def test_formulas_in_csv_files_are_escaped(texts, dtype):
    table = pd.DataFrame({texts[0]: [-1.5] * len(texts), "name": pd.Series(texts, dtype=dtype)})
    escaped = escape_formulas(table)
    assert escaped.iloc[:, 0].tolist() == [-1.5] * len(texts), "numbers are unchanged"
    cells = [str(escaped.columns[0]), *escaped["name"]]
    for cell, text in zip(cells, [texts[0], *texts], strict=True):
        assert cell in (text, f"'{text}")
        assert not cell.startswith(STARTS)
    assert table.columns[0] == texts[0], "the table itself is unchanged"


def test_times_and_an_index_of_texts_are_written_as_before():
    times = pd.date_range("2024-01-01", periods=2, freq="h", tz="UTC", name="timestamps")
    table = pd.DataFrame({"close": [1.0, -2.0]}, index=times)
    assert escape_formulas(table).to_csv() == table.to_csv()
    assert list(escape_formulas(table.set_axis(["=a", "b"])).index) == ["'=a", "b"]


@pytest.mark.skipif(sys.platform == "win32", reason="file names with =, | and '")
def test_names_of_files_are_escaped(invoke, checkpoint, candles_csv, tmp_path):
    source, output = tmp_path / "=cmd|' -C calc'!A1_1h.csv", tmp_path / "out.csv"
    source.write_bytes(candles_csv.read_bytes())
    done = invoke("forecast", source, "--model", checkpoint, "-n", 2, "--samples", 2, "--output", output, "-q")
    assert done.exit_code == 0, done.stderr
    texts = pd.read_csv(output).select_dtypes(["object", "string"]).to_numpy().ravel()
    assert any(str(text).startswith("'=cmd") for text in texts)
    assert not any(str(text).startswith(STARTS) for text in texts)
