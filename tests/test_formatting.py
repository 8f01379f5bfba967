"""Text for people and values for JSON."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from kronos.formatting import (
    duration,
    file_stem,
    format_number,
    format_price,
    format_signed,
    join_names,
    json_safe,
    megabytes,
    os_error_reason,
    percent,
    plural,
    relative_path,
    short_count,
    to_json,
    truncate,
    truncate_middle,
    unique_name,
    unique_names,
)


def test_truncate_gives_one_printable_line():
    assert truncate(" a\tb\nc\x1b ") == "a b c"
    assert truncate("x" * 100) == "x" * 30
    assert truncate(12.5) == "12.5"
    assert truncate("abcdef", 3) == "abc"


def test_truncate_middle_keeps_both_ends():
    assert truncate_middle("kronos", 6) == "kronos"
    assert truncate_middle("kronos-mini-2024", 9) == "kron…2024"
    assert truncate_middle("a\nb", 5) == "a b"


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ([], ""),
        (["a"], "a"),
        (["a", "b"], "a and b"),
        (["a", "b", "c"], "a, b and c"),
        (list("abcdefg"), "a, b, c, d and 3 more"),
    ],
)
def test_join_names(names, text):
    assert join_names(names) == text


def test_join_names_with_another_limit_and_conjunction():
    assert join_names(list("abcde"), None) == "a, b, c, d and e"
    assert join_names(list("abc"), 1) == "a and 2 more"
    assert join_names(list("abc"), conjunction="or") == "a, b or c"


def test_unique_names_number_what_is_taken():
    assert unique_name("btc", {"eth"}) == "btc"
    assert unique_name("btc", {"btc", "btc-2"}) == "btc-3"
    assert unique_names(["a", "a", "b", "a", "a-2"]) == ["a", "a-2", "b", "a-3", "a-2-2"]


def test_file_stem_removes_known_suffixes_only():
    assert file_stem("data/btc_1h.csv.gz", (".csv", ".gz")) == "btc_1h"
    assert file_stem(Path("BTC.CSV"), (".csv",)) == "BTC"
    assert file_stem("brk.b.csv", (".csv",)) == "brk.b"
    assert file_stem(".csv", (".csv",)) == ".csv"


def test_relative_path_is_short_inside_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert relative_path(tmp_path / "here" / "a" / "b.csv") == str(Path("a") / "b.csv")
    assert relative_path(tmp_path / "b.csv") == str(tmp_path / "b.csv")


def test_plural():
    assert [plural(n, "gap") for n in (0, 1, 2, 2000)] == ["0 gaps", "1 gap", "2 gaps", "2,000 gaps"]


def test_numbers_have_a_typographic_minus_and_no_negative_zero():
    assert format_number(-1234.5678, 2) == "−1,234.57"
    assert format_number(-0.0001, 2) == "0.00"
    assert format_number(math.nan) == "–"
    assert [format_signed(v) for v in (0.12, -0.031, -0.0001)] == ["+0.120", "−0.031", "0.000"]


def test_percent():
    assert [percent(v) for v in (0.125, -0.0312, 0.0, math.inf)] == ["12.5 %", "−3.1 %", "0.0 %", "–"]
    assert percent(0.8, 0) == "80 %"


def test_prices_counts_and_sizes():
    assert [format_price(67200.4, 0), format_price(1.08345, 5)] == ["67,200", "1.08345"]
    assert [short_count(n) for n in (24_700_000, 317_000)] == ["24.7 M", "317 K"]
    assert [megabytes(n) for n in (9_100_000, 412_300_000, 2_400_000_000)] == ["9.1 MB", "412 MB", "2.4 GB"]


def test_os_error_reason_is_the_systems_description_or_the_class():
    assert os_error_reason(PermissionError(13, "Permission denied", "/secret")) == "permission denied"
    assert os_error_reason(TimeoutError()) == "timeouterror"


def test_duration():
    assert [duration(s) for s in (41.6, 185, 7800)] == ["42 s", "3 min 5 s", "2 h 10 min"]


def test_json_safe_replaces_what_is_not_finite():
    value = {1: (1.0, math.nan), "nested": {"inf": -math.inf, "flag": True, "none": None, "text": "a", "n": 3}}
    assert json_safe(value) == {
        "1": [1.0, None],
        "nested": {"inf": None, "flag": True, "none": None, "text": "a", "n": 3},
    }
    assert type(json_safe(np.float64(1.5))) is float


def test_json_safe_converts_foreign_objects_on_request():
    assert json_safe([np.float32(0.5), np.int64(3), Path("a"), np.float32(np.nan)], convert=True) == [
        0.5,
        3.0,
        "a",
        None,
    ]
    with pytest.raises(TypeError):
        json.dumps(json_safe([np.int64(3)]))


def test_to_json():
    assert to_json({"a": math.nan, "b": "é"}) == '{\n  "a": null,\n  "b": "é"\n}'
    assert to_json(["é"], ascii_only=True) == '[\n  "\\u00e9"\n]'
