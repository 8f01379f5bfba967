"""Inspection of files and folders: every series is reported, whatever the others are."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kronos.candles import rules_for
from kronos.datasets.inspection import check_file, check_paths
from kronos.errors import DataError, ParameterError


def table(rows: int = 400, freq: str = "h", seed: int = 0) -> pd.DataFrame:
    close = 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.002, rows)))
    times = pd.date_range("2024-01-01", periods=rows, freq=freq)
    frame = pd.DataFrame({"timestamps": times, "open": np.r_[100.0, close[:-1]], "close": close, "volume": 5.0})
    return frame.assign(high=frame[["open", "close"]].max(axis=1), low=frame[["open", "close"]].min(axis=1))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with candles, a hidden folder, and other files."""
    root = tmp_path / "data"
    (root / "deep" / "deeper").mkdir(parents=True)
    (root / ".cache").mkdir()
    table().to_csv(root / "BTC_1h.csv", index=False)
    table(seed=1).to_parquet(root / "deep" / "ETH_1h.parquet")
    table(30, "D").to_csv(root / "deep" / "deeper" / "new_1d.csv.gz", index=False)
    table().to_csv(root / ".cache" / "hidden.csv", index=False)
    pd.DataFrame({"path": ["BTC_1h.csv"], "rows": [400]}).to_csv(root / "MANIFEST.csv", index=False)
    (root / "README.md").write_text("About these.\n")
    return root


def test_single_file(folder: Path) -> None:
    (one,) = check_file(folder / "BTC_1h.csv")
    assert (one.name, str(one.interval), one.candles, one.verdict) == ("BTC_1h", "1h", 400, "good")
    assert (one.start, one.end) == (pd.Timestamp("2024-01-01"), pd.Timestamp("2024-01-17 15:00"))
    assert one.spans == ((one.start, one.end),)
    assert [f.code for f in one.notes] == ["no-amount"]
    assert one.warnings == ()
    assert one.quality.rules == rules_for("1h")


def test_file_without_candles_is_an_error(folder: Path) -> None:
    with pytest.raises(DataError, match=r"MANIFEST\.csv has no columns for open"):
        check_file(folder / "MANIFEST.csv")


def test_folders_are_searched_and_other_tables_skipped(folder: Path) -> None:
    report = check_paths([folder])
    assert [one.name for one in report.series] == ["BTC_1h", "ETH_1h", "new_1d"]
    assert [path.name for path in report.passed_over] == ["MANIFEST.csv"]
    assert report.unreadable == ()
    assert (report.candles, report.kept, report.segments, report.warnings) == (830, 800, 2, 0)
    assert report.verdicts == {"good": 2, "too short": 1}
    assert not report.flawless, "the filters drop one series"


def test_unreadable_files_are_reported(folder: Path) -> None:
    (folder / "empty.csv").touch()
    (folder / "broken.parquet").write_bytes(b"PAR1 and no more")
    table().drop(columns="low").to_csv(folder / "lowless.csv", index=False)
    report = check_paths([folder, folder / "absent.csv", folder / "MANIFEST.csv"])
    assert len(report.series) == 3
    problems = {one.path.name: one.problem for one in report.unreadable}
    assert problems.keys() == {"empty.csv", "broken.parquet", "lowless.csv", "absent.csv", "MANIFEST.csv"}
    assert problems["lowless.csv"].startswith("lowless.csv has no column for low")
    assert problems["absent.csv"].startswith("There is no file")
    assert report.passed_over == (), "a file named by the user is unreadable, not skipped"


def test_folder_without_tables_is_reported(tmp_path: Path) -> None:
    (unreadable,) = check_paths([tmp_path]).unreadable
    assert "holds no candle files" in unreadable.problem


def test_each_file_is_inspected_once(folder: Path) -> None:
    (folder / "again.csv").symlink_to(folder / "BTC_1h.csv")
    paths = [folder, folder / "BTC_1h.csv", folder / "deep", folder / "deep" / ".." / "BTC_1h.csv"]
    assert [one.name for one in check_paths(paths).series] == ["BTC_1h", "ETH_1h", "new_1d"]


def test_files_of_several_instruments(tmp_path: Path) -> None:
    both = pd.concat([table().assign(symbol="AAA"), table(seed=1).assign(symbol="BBB")])
    both.to_parquet(tmp_path / "both.parquet")
    one, two = check_paths([tmp_path]).series
    assert (one.name, two.name) == ("AAA", "BBB")
    assert one.path == two.path == tmp_path / "both.parquet"


def test_simulated_candles_are_named_after_their_file(tmp_path: Path) -> None:
    table().to_csv(tmp_path / "simulated_BTC_1h.csv", index=False)
    table().assign(symbol="ETH").to_csv(tmp_path / "simulated_one.csv", index=False)
    one, two = check_paths([tmp_path]).series
    assert one.simulated
    assert two.simulated
    assert (one.name, two.name) == ("simulated_BTC_1h", "simulated_one ETH")


@pytest.mark.parametrize(
    ("rows", "still", "verdict"),
    [(600, 0, "good"), (600, 60, "fair"), (1000, 700, "poor"), (600, 580, "unfit"), (100, 0, "too short")],
)
def test_verdicts(tmp_path: Path, rows: int, still: int, verdict: str) -> None:
    frame = table(rows)
    if still:
        frame.loc[frame.index[-still:], ["open", "high", "low", "close"]] = float(frame["close"].iloc[-still - 1])
    frame.to_csv(tmp_path / "x.csv", index=False)
    (one,) = check_file(tmp_path / "x.csv")
    assert one.verdict == verdict


def test_series_with_a_warning_is_not_good(tmp_path: Path) -> None:
    frame = table(600)
    frame.loc[10, ["high", "low"]] = frame.loc[10, ["low", "high"]].tolist()
    frame.to_csv(tmp_path / "x.csv", index=False)
    (one,) = check_file(tmp_path / "x.csv")
    assert one.quality.kept_share == 1.0
    assert [f.code for f in one.warnings] == ["high-below-low"]
    assert one.verdict == "fair"


def test_interval_and_timezone_apply_to_all_files(folder: Path) -> None:
    report = check_paths([folder], interval="1h", timezone="Asia/Shanghai")
    assert {one.timezone for one in report.series} == {"Asia/Shanghai"}
    (unreadable,) = report.unreadable
    assert "interval=1h contradicts new_1d.csv.gz" in unreadable.problem
    with pytest.raises(ParameterError, match="Shanghai"):
        check_paths([folder], timezone="Asia/Shangai")
    with pytest.raises(ParameterError, match="'fortnight'"):
        check_paths([folder], interval="fortnight")


def test_progress_counts_files(folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    check_paths([folder], progress=lambda done, total: seen.append((done, total)))
    assert seen == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.slow
def test_a_sample_of_real_candles_is_readable(shared: Path) -> None:
    """A file of every market, and a sixth of all."""
    chosen = []
    for market in sorted(path for path in (shared / "data/candles").iterdir() if path.is_dir()):
        files = sorted(market.rglob("*.*"), key=lambda path: hashlib.sha256(path.name.encode()).digest())
        chosen += files[: 1 + len(files) // 6]
    report = check_paths(chosen)
    assert len(report.series) == len(chosen) > 30
    assert report.unreadable == ()
    assert report.kept > 0.9 * report.candles


@pytest.mark.slow
def test_real_candles_are_readable(shared: Path) -> None:
    report = check_paths([shared / "data/candles"])
    assert len(report.series) == 182
    assert report.unreadable == ()
    assert report.kept > 0.9 * report.candles
    assert [path.name for path in report.passed_over] == ["MANIFEST.csv"]
