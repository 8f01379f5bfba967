"""Files that options name: candles from stdin, and outputs that must not replace what is read."""

from __future__ import annotations

import json
import os
import shutil
import threading
from pathlib import Path

import pandas as pd
import pytest

from kronos.cli.files import check_not_read, files_from_stdin
from kronos.errors import DataError, ParameterError

FEW = ("--horizon", "3", "--samples", "4", "--seed", "1")


def other_names(file: Path) -> list[Path]:
    """The same file by other names: a relative path, a symbolic link, a hard link, a path through a linked folder."""
    folder = file.parent / "names"
    folder.mkdir()
    (folder / f"symbolic{file.suffix}").symlink_to(file)
    os.link(file, folder / f"hard{file.suffix}")
    (folder / "linked").symlink_to(file.parent)
    return [
        file,
        folder / ".." / file.name,
        folder / f"symbolic{file.suffix}",
        folder / f"hard{file.suffix}",
        folder / "linked" / file.name,
    ]


def test_a_forecast_never_replaces_its_candles(invoke, bundled, candles_csv):
    content = candles_csv.read_bytes()
    for name in other_names(candles_csv):
        result = invoke("forecast", candles_csv, *FEW, "--output", name)
        assert result.exit_code == 2
        assert "--output" in result.stderr
        assert "replace" in result.stderr
        assert candles_csv.read_bytes() == content


def test_a_forecast_never_replaces_other_inputs(invoke, bundled, candles_csv, tmp_path):
    (tmp_path / "mine.json").write_text("{}")
    model = shutil.copytree(bundled, tmp_path / "model")
    weights = (model / "model" / "config.json").read_bytes()
    for arguments in (
        ("--calibration", tmp_path / "mine.json", "--output", tmp_path / "mine.json"),
        ("--model", model, "--output", model / "model" / "config.json"),
    ):
        result = invoke("forecast", candles_csv, *FEW, *arguments)
        assert result.exit_code == 2
        assert "replace" in result.stderr
    assert (model / "model" / "config.json").read_bytes() == weights
    assert (tmp_path / "mine.json").read_text() == "{}"


def test_one_of_several_tables_that_would_replace_candles_is_refused(invoke, bundled, candles_csv, tmp_path):
    other = tmp_path / "all-coin_1h.npz"
    os.link(candles_csv, other)
    second = shutil.copy(candles_csv, tmp_path / "b_1h.csv")
    result = invoke("forecast", candles_csv, second, *FEW, "--output", tmp_path / "all.npz")
    assert result.exit_code == 2
    assert "all-coin_1h.npz" in result.stderr
    assert other.samefile(candles_csv)


@pytest.mark.parametrize(
    ("command", "option", "target"),
    [
        (("data", "check"), "--report", "coin.json"),
        (("evaluate", "--horizon", "4", "--samples", "2", "--max-origins", "2"), "--report", "coin.html"),
        (("evaluate", "--horizon", "4", "--samples", "2", "--max-origins", "2"), "--output", "scores.parquet"),
        (("calibrate", "--to", "2030-01-01", "--horizon", "4", "--samples", "2"), "--output", "coin.json"),
        (("paper", "price", "--from", "2000-01-01"), "--output", "paper-price.json"),
    ],
)
def test_reports_and_results_never_replace_candles(
    invoke, bundled, candle_table, tmp_path, monkeypatch, command, option, target
):
    monkeypatch.chdir(tmp_path)
    table = candle_table(200)
    file = tmp_path / "coin_1h.csv"
    table.to_csv(file, index=False)
    os.link(file, tmp_path / target)
    content = file.read_bytes()
    output = tmp_path if target in ("scores.parquet", "paper-price.json") else tmp_path / target
    result = invoke(*command, file, option, output)
    assert result.exit_code == 2
    assert "replace" in result.stderr
    assert file.read_bytes() == content


def test_fetching_never_replaces_the_files_of_its_source(invoke, candle_table, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    candle_table(300).to_csv(folder / "coin_1h.csv", index=False)
    content = (folder / "coin_1h.csv").read_bytes()
    arguments = ("data", "fetch", "coin", "--source", f"files:{folder}", "--records", "20")
    for output in (folder, folder / "coin_1h.csv"):
        result = invoke(*arguments, "--output", output)
        assert result.exit_code == 2
        assert "replace" in result.stderr
    assert (folder / "coin_1h.csv").read_bytes() == content
    assert invoke(*arguments, "--output", tmp_path / "elsewhere").exit_code == 0


def test_outputs_beside_the_inputs_are_written(tmp_path):
    (tmp_path / "a.csv").touch()
    (tmp_path / "b.csv").touch()
    check_not_read("--output", [tmp_path / "b.csv", tmp_path / "c.csv"], [tmp_path / "a.csv", tmp_path / "missing.csv"])
    with pytest.raises(ParameterError, match=r"missing\.csv"):
        check_not_read("--output", [tmp_path / "x" / ".." / "missing.csv"], [tmp_path / "missing.csv"])


@pytest.mark.slow
def test_candles_from_stdin_are_a_series_of_that_name(invoke, bundled, candles_csv):
    direct = invoke("forecast", candles_csv, *FEW, "--symbol", "stdin", "--json")
    piped = invoke("forecast", "-", *FEW, "--json", stdin=candles_csv.read_bytes())
    assert piped.exit_code == 0
    [expected], [found] = (json.loads(result.stdout)["forecasts"] for result in (direct, piped))
    assert found["unique_id"] == "stdin"
    assert found["median"] == expected["median"]
    checked = invoke("data", "check", "-", "--json", stdin=candles_csv.read_bytes())
    assert checked.exit_code == 0
    assert "stdin" in checked.stdout


def test_empty_stdin_is_one_sentence(invoke, bundled):
    result = invoke("forecast", "-", *FEW, stdin=b"")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: stdin is empty")


def test_a_pipe_of_the_shell_is_read_under_a_name_of_its_own(tmp_path):
    for _ in range(2):  # the second pipe has other descriptors
        reader, writer = os.pipe()
        keep = os.dup(reader)
        thread = threading.Thread(target=lambda number=writer: (os.write(number, b"a,b\n"), os.close(number)))
        thread.start()
        with files_from_stdin([tmp_path / "x.csv", Path(f"/dev/fd/{reader}")]) as files:
            assert files[0] == tmp_path / "x.csv"
            assert files[1].name == "stdin"
            assert files[1].read_bytes() == b"a,b\n"
        assert not files[1].exists()
        thread.join()
        os.close(reader)
        assert keep  # stays open, so that the next pipe has other numbers


def test_stdin_without_end_is_refused(monkeypatch):
    monkeypatch.setattr("kronos.candles.content.MAX_BYTES", 2**21)
    with (
        Path("/dev/zero").open("rb") as zero,
        pytest.raises(DataError, match="limit"),
        files_from_stdin([Path(f"/dev/fd/{zero.fileno()}")]),
    ):
        pass


def test_the_table_on_stdout_is_all_of_stdout(invoke, bundled, candles_csv, tmp_path):
    result = invoke("forecast", candles_csv, *FEW, "--output", "-")
    assert result.exit_code == 0
    assert invoke("forecast", candles_csv, *FEW, "--output", tmp_path / "t.csv", "--quiet").exit_code == 0
    assert result.stdout == (tmp_path / "t.csv").read_text()
    assert len(pd.read_csv(tmp_path / "t.csv")) == 3
    refused = invoke("forecast", candles_csv, *FEW, "--output", "-", "--json")
    assert refused.exit_code == 2
    assert "stdout" in refused.stderr
