"""Previews: the first rows as written, and what each column was read as, also of files that cannot be read."""

import gzip
import io
from pathlib import Path

import pandas as pd
import pytest

from kronos.candles.previews import MAX_CELL, MAX_PREVIEW_COLUMNS, preview_table
from kronos.candles.read_options import ReadOptions
from kronos.errors import DataError

HEADER = "Datum;Erster;Hoch;Tief;Schlusskurs;Umsatz"
ROWS = [f"{day:02d}.01.2024;10,5;11,5;9,5;1{day % 10},25;1000" for day in range(1, 29)]
GERMAN = "\n".join([HEADER, *ROWS])


def preview(tmp_path: Path, name: str, content: bytes | str, **options: object):
    (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    found = preview_table(tmp_path / name, ReadOptions(**options))
    assert found.is_bounded
    return found


def test_cells_are_shown_as_written_with_the_role_of_each_column(tmp_path: Path) -> None:
    found = preview(tmp_path, "dax.csv", GERMAN)
    assert found.labels == tuple(HEADER.split(";"))
    assert found.references == found.labels
    assert found.rows[0] == ("01.01.2024", "10,5", "11,5", "9,5", "11,25", "1000")
    assert (len(found.rows), found.first, found.columns) == (5, 2, 6)


def test_unknown_columns_have_no_role_until_they_are_named(tmp_path: Path) -> None:
    text = GERMAN.replace("Schlusskurs", "Letzte Zahl")
    roles = preview(tmp_path, "a.csv", text).roles
    assert (roles[0], roles[2], roles[3], roles[4]) == ("timestamps", "high", "low", "")
    named = preview(tmp_path, "a.csv", text, columns=(("close", "Letzte Zahl"), ("open", "Erster"))).roles
    assert named[1:5] == ("open", "high", "low", "close")


def test_a_mapping_that_names_no_column_is_left_out(tmp_path: Path) -> None:
    assert preview(tmp_path, "a.csv", GERMAN, columns=(("close", "absent"),)).roles[2:4] == ("high", "low")


def test_columns_without_names_are_referred_to_by_position(tmp_path: Path) -> None:
    rows = "\n".join(f"2024-01-{day:02d},10.5,11.5,9.5,11.25,1000" for day in range(1, 29))
    found = preview(tmp_path, "a.csv", rows)
    assert set(found.labels) == {""}
    assert found.references == ("1", "2", "3", "4", "5", "6")
    assert found.roles == ("timestamps", "open", "high", "low", "close", "volume")
    assert found.first == 1


def test_repeated_and_numeric_names_are_referred_to_by_position(tmp_path: Path) -> None:
    text = "\n".join(["date,open,high,low,close,x,x,7", *[f"2024-01-{day:02d},1,2,1,2,3,4,5" for day in range(1, 20)]])
    assert preview(tmp_path, "a.csv", text).references == ("date", "open", "high", "low", "close", "6", "7", "8")


@pytest.mark.parametrize("header", [None, 9])
def test_lines_that_cannot_be_divided_are_shown_as_lines(tmp_path: Path, header: int | None) -> None:
    found = preview(tmp_path, "a.csv", "one\ntwo\nthree", header=header)
    assert (found.labels, found.rows, found.columns) == (("",), (("one",), ("two",), ("three",)), 1)


@pytest.mark.parametrize("name", ["a.parquet", "a.feather", "a.json", "a.csv.gz"])
def test_formats_other_than_text(tmp_path: Path, name: str) -> None:
    times = pd.date_range("2024-01-01", periods=9)
    frame = pd.DataFrame({"timestamps": times, "open": 1.5, "high": 2.5, "low": 1.0, "Last Price": 2.0})
    frame.loc[1, "open"] = float("nan")
    content = io.BytesIO()
    if name.endswith("parquet"):
        frame.to_parquet(content)
    elif name.endswith("feather"):
        frame.to_feather(content)
    elif name.endswith("json"):
        content.write(frame.to_json(orient="records", date_format="iso").encode())
    else:
        content.write(gzip.compress(frame.to_csv(index=False).encode()))
    found = preview(tmp_path, name, content.getvalue(), columns=(("close", "Last Price"),))
    assert found.roles == ("timestamps", "open", "high", "low", "close")
    assert found.rows[0][0].startswith("2024-01-01")
    assert found.rows[0][1:] == ("1.5", "2.5", "1.0", "2.0")
    assert found.rows[1][1] == ""


def test_previews_are_bounded(tmp_path: Path) -> None:
    wide = ",".join(f"column {i}" for i in range(300))
    found = preview(tmp_path, "a.csv", "\n".join([wide, *[",".join(["1" * 60] * 300)] * 3]))
    assert found.columns == 300
    assert len(found.labels) == MAX_PREVIEW_COLUMNS
    assert max(len(cell) for row in found.rows for cell in row) == MAX_CELL


@pytest.mark.parametrize("content", [b"", b"PAR1 and no more"])
def test_a_file_without_rows_has_none(tmp_path: Path, content: bytes) -> None:
    name = "a.parquet" if content else "a.csv"
    with pytest.raises(DataError):
        preview(tmp_path, name, content)
