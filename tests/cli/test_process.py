"""What a process may be started with: closed streams, odd widths, odd names, no docstrings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kronos import rng
from kronos.cli.console import stdout, valid_width
from kronos.formatting import docstring, file_stem, printable, to_json, unicode_name
from kronos.sources.files import FileSource

FEW = ("--horizon", "3", "--samples", "4", "--seed", "1")
NOT_UTF8 = b"\xff\xe9_1h.csv"


def start(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", "kronos", *map(str, arguments)], check=False, timeout=100, **options)


@pytest.mark.skipif(os.name != "posix", reason="closes descriptors")
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_error(closed, tmp_path):
    errors = tmp_path / "errors"
    shown = "" if "2>" in closed else f" 2>{errors}"
    command = f"{sys.executable} -m kronos models list {closed}{shown}"
    assert subprocess.run(command, shell=True, check=False, stdout=subprocess.DEVNULL).returncode == 0
    assert not errors.exists() or errors.read_text() == ""


def test_streams_that_are_none_are_no_terminal(invoke, bundled, candles_csv, monkeypatch):
    from kronos import KronosPredictor, read_candles
    from kronos.cli import console

    monkeypatch.setattr("sys.stdout", None)
    monkeypatch.setattr("sys.stderr", None)
    console.print_json({"a": 1})
    console.page("text")
    with console.spinner("Working"), console.log_to_stderr(verbose=True):
        pass
    candles = read_candles(candles_csv)
    predictor = KronosPredictor.from_pretrained(bundled, device="cpu")
    assert predictor.forecast(candles, 2, samples=2).samples == 2
    frame = candles.frame
    times = pd.Series(pd.date_range(frame.index[-1], periods=3, freq="h")[1:])
    assert len(predictor.predict(frame, pd.Series(frame.index), times, pred_len=2)) == 2


@pytest.mark.parametrize("columns", ["0", "-5", "garbage", "²", "1", "2", "7", "99999999999999999999", "", "80"])
def test_every_width_shows_something(invoke, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    result = invoke("models", "list")
    assert result.exit_code == 0, result.output
    assert len(result.stdout.split()) > 5


@pytest.mark.parametrize("columns", ["0", "1", "9" * 30])
def test_widths_are_corrected_before_anything_reads_them(columns):
    environment = os.environ | {"COLUMNS": columns, "TERMINAL_WIDTH": "wide"}
    done = start("--help", env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert b"forecast" in done.stdout


def test_widths_are_positive_numbers_within_limits():
    assert [valid_width(text) for text in ("", "0", "000", "x", "-1", "1.5", "３")] == [None] * 7
    assert [valid_width(text) for text in ("1", "80", "0120", "9" * 30)] == [20, 80, 120, 1000]


@pytest.fixture
def odd_file(tmp_path, candle_table):
    """A file whose name is not UTF-8."""
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + NOT_UTF8))
    try:
        candle_table().to_csv(path, index=False)
    except (OSError, UnicodeError):
        pytest.skip("the file system has no such names")
    return path


def test_names_that_are_not_utf8_are_forecast_and_written(invoke, bundled, odd_file, tmp_path):
    for name in ("t.csv", "t.parquet", "t.json"):
        result = invoke("forecast", odd_file, *FEW, "--output", tmp_path / name)
        assert result.exit_code == 0, result.output
    assert "\ufffd" in pd.read_csv(tmp_path / "t.csv")["unique_id"][0]
    result = invoke("forecast", odd_file, *FEW, "--json", "--plot", tmp_path / "figures")
    assert json.loads(result.stdout)["forecasts"][0]["files"]
    assert invoke("data", "check", odd_file, "--report", tmp_path / "r.md").exit_code == 0
    assert invoke("data", "check", odd_file, "--report", tmp_path / "r.json").exit_code == 0


def test_escape_sequences_of_names_are_not_sent_to_the_terminal(invoke, bundled, candle_table, tmp_path):
    file = tmp_path / "a\x1b[31mred\x1b[0m\x07_1h.csv"
    candle_table().to_csv(file, index=False)
    for command in (("forecast", file, *FEW), ("data", "check", file), ("forecast", file, *FEW, "--json")):
        result = invoke(*command)
        assert result.exit_code == 0, result.output
        assert "\x1b" not in result.output
        assert "\x07" not in result.output
        assert "red" in result.stdout
    missing = invoke("forecast", tmp_path / "b\x1b[31m.csv", *FEW)
    assert missing.exit_code == 2
    assert "\x1b" not in missing.stderr


def test_terminal_output_has_the_styles_but_no_other_escapes(monkeypatch, capsys):
    from rich.text import Text

    console = stdout()
    with console.capture() as capture:
        console.print(Text("a\x1b[31mb\u202ec\ud800", style="bold"))
    assert capture.get().replace("\x1b[1m", "").replace("\x1b[0m", "") == "a\ufffd[31mb\ufffdc\ufffd\n"
    assert printable("fine: é 価格 👩\u200d🔬\tx\n") == "fine: é 価格 👩\u200d🔬\tx\n"


@pytest.mark.parametrize("name", ["비트코인", "café", "Ω"])
def test_decomposed_names_are_the_same_series(tmp_path, candle_table, name):
    decomposed = unicodedata.normalize("NFD", name)
    candle_table(200).to_csv(tmp_path / f"{decomposed}_1h.csv", index=False)
    composed = unicodedata.normalize("NFC", name)
    assert file_stem(f"{decomposed}.csv", (".csv",)) == composed
    source = FileSource(tmp_path)
    assert source.symbols() == (composed,)
    for asked in (composed, decomposed):
        assert len(source.candles(asked, source.intervals(asked)[0], records=5)) == 5


def test_names_have_valid_unicode():
    assert unicode_name(os.fsdecode("価格".encode())) == "価格"
    assert unicode_name("a\udcff") == "a\ufffd"
    assert unicode_name("\ud800") == "?"
    assert json.loads(to_json({"\udcff": "\ud800"})) == {"\udcff": "\ud800"}
    to_json({"a": "\udcff"}).encode("utf-8")


def test_every_name_has_random_numbers():
    plain = rng.keyed_uniforms(1, "BTC", range(2), 3)
    for name in ("\udcff", "\ud800", "名前"):
        other = rng.keyed_uniforms(1, name, range(2), 3)
        assert not np.array_equal(plain, other)
        assert rng.derive_seed(1, name) != rng.derive_seed(1, "BTC")
        assert rng.named_seed(name) >= 0
        rng.named_generator(1, name)


@pytest.mark.skipif(os.name != "posix", reason="needs links and pipes")
def test_links_to_themselves_pipes_and_devices_are_one_sentence(invoke, bundled, candle_table, tmp_path):
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    os.mkfifo(tmp_path / "pipe.csv")
    for path in (tmp_path / "loop.csv", tmp_path / "pipe.csv", Path("/dev/zero"), Path("/dev/null")):
        for command in (("data", "check", path), ("forecast", path, *FEW)):
            result = invoke(*command)
            assert result.exit_code == 2, result.output
            assert path.name in result.output
            assert not isinstance(result.exception, RuntimeError | OSError)


@pytest.mark.skipif(os.name != "posix", reason="needs links")
def test_folders_that_link_to_themselves_are_searched_once(candle_table, tmp_path):
    from kronos.datasets.discovery import list_sources
    from kronos.datasets.inspection import check_paths

    folder = tmp_path / "data"
    (folder / "inner").mkdir(parents=True)
    candle_table(200).to_csv(folder / "inner" / "coin_1h.csv", index=False)
    for number in range(8):  # two links in each of several folders would be searched 2^n times
        (folder / f"self{number}").symlink_to(".")
        (folder / "inner" / f"up{number}").symlink_to("..")
    (folder / "loop.csv").symlink_to("loop.csv")
    assert [source.path.name for source in list_sources([folder])] == ["coin_1h.csv"]
    report = check_paths([folder])
    assert [series.path.name for series in report.series] == ["coin_1h.csv"]


@pytest.mark.parametrize("columns", [3_000, 300_000])
def test_too_many_columns_are_refused_at_once(invoke, tmp_path, columns):
    file = tmp_path / "wide.csv"
    names = ",".join(f"c{number}" for number in range(columns))
    file.write_text(f"timestamps,open,high,low,close,{names}\n" + ("1,1,2,1,1.5" + ",1" * columns + "\n") * 3)
    result = invoke("data", "check", file)
    assert result.exit_code == 2
    assert "columns" in result.output


def test_one_huge_line_is_one_sentence(invoke, tmp_path):
    (tmp_path / "line.csv").write_bytes(b"x" * 20_000_000)
    result = invoke("data", "check", tmp_path / "line.csv")
    assert result.exit_code == 2
    assert len(result.output) < 1000


@pytest.mark.slow
def test_help_does_not_depend_on_docstrings():
    environment = os.environ | {"PYTHONOPTIMIZE": "2", "COLUMNS": "200"}
    top = start("--help", env=environment, capture_output=True).stdout.decode()
    assert "Forecast candlesticks with Kronos" in top
    assert "Forecast candles: sample possible future paths" in top
    own = start("data", "check", "--help", env=environment, capture_output=True).stdout.decode()
    assert "Folders are searched for CSV" in own


def test_docstrings_are_read_from_the_source(monkeypatch):
    from kronos.cli.data.check import check

    expected = docstring(check)
    assert expected.startswith("Check candles")
    monkeypatch.setattr(check, "__doc__", None)
    assert docstring(check) == expected
    assert docstring(eval("lambda: 1")) == ""
