"""The data preparation guide: its walk-through runs as it stands, and its table of filters is the code's."""

import ast
import re
from pathlib import Path

import pytest

import kronos
from docs.running import run
from kronos.candles import read_candles
from kronos.candles.quality_filters import rules_for
from kronos.datasets import open_dataset

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "data-preparation.md"


def walk_through():
    text = GUIDE.read_text("utf-8").split("<!-- walk-through:")[1].split("<!-- end of walk-through -->")[0]
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return [line for block in blocks for line in block.strip().splitlines()]


@pytest.mark.slow
def test_the_walk_through(tmp_path, monkeypatch):
    lines = walk_through()
    assert len(lines) == 10
    outputs = [run(line, tmp_path).stdout for line in lines]
    monkeypatch.chdir(tmp_path)
    assert "model_b_1d" in outputs[1]
    assert "nothing was fetched or written" in outputs[2]
    sets = Path("data/kronos_datasets")
    assert [path.name for path in sets.iterdir()] == ["model_a_4h"]
    other = open_dataset("model_a_4h", Path("data/other"))
    assert (other.summary["timeframes"], other.summary["records_per_timeframe"]) == (["4H", "1D"], 1000)
    third = open_dataset("model_a_4h", Path("data/third"))
    assert third.summary["records_per_timeframe"] == 900
    assert {path.name for path in Path("data/both").iterdir()} == {"model_a_4h", "model_b_1d"}
    for dataset in (open_dataset("model_a_4h"), other, third):
        assert dataset.simulated
        assert [series["resampled_from"] for series in dataset.summary["series"]] == ["1h"] * len(
            dataset.summary["series"]
        )
    assert "BTC-USDT-SWAP" in outputs[8]
    assert "ETH-USDT-SWAP_4H" in outputs[9]


@pytest.mark.slow
def test_the_walk_through_on_real_candles(tmp_path, monkeypatch, shared):
    folder = shared / "data" / "candles" / "us_equity"
    (tmp_path / "shares.yaml").write_text(
        "model_name: Shares\n"
        "target_symbols: [SPY_1H, AAPL_lean_1D, SPY_1D]\n"
        "records_per_timeframe: 1500\n"
        f"source: replay:{folder}\n"
        "windows: {lookback: 90, predict: 10}\n"
    )
    run("kronos data prepare --config shares.yaml --dry-run", tmp_path)
    run("kronos data prepare --config shares.yaml", tmp_path)
    run("kronos data prepare --config shares.yaml --force --records-per-timeframe 1000", tmp_path)
    monkeypatch.chdir(tmp_path)
    dataset = open_dataset("shares")
    assert not dataset.simulated
    assert dataset.summary["records_per_timeframe"] == 1000
    assert {one["unique_id"]: one["candles"] for one in dataset.summary["series"]} == {
        "SPY_1H": 1000, "AAPL_lean_1D": 1000, "SPY_1D": 1000,
    }  # fmt: skip
    train, test = dataset.read("train"), dataset.read("test")
    assert train["timestamps"].max() < test["timestamps"].min()
    [path] = folder.glob("AAPL_lean_1d*")
    real = read_candles(path).frame
    daily = train[train["unique_id"] == "AAPL_lean_1D"]
    assert daily["close"].isin(real["close"]).all()


@pytest.mark.slow
def test_what_the_guide_quotes_is_what_is_said():
    quoted = re.findall(
        r"^\| `([^`]+)`", GUIDE.read_text("utf-8").split("## When something goes wrong")[1], re.MULTILINE
    )
    assert len(quoted) == 14
    said = [
        node.value
        for path in Path(kronos.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    for sentence in quoted:
        for part in re.split(r"…| 429| 1d|validation| is |'BTC-USDX'", sentence):
            assert any(part.strip() in text for text in said), f"'{part}' of '{sentence}'"


def test_the_table_of_filters_is_that_of_the_code():
    rows = re.findall(
        r"^\| ([\dmhdw, ]+) \| (\d+) \| (\d+) % \| (\d+) \| (\d+) \|$", GUIDE.read_text("utf-8"), re.MULTILINE
    )
    assert len(rows) == 9
    for intervals, least, jump, idle, still in rows:
        for interval in intervals.split(", "):
            rules = rules_for(interval)
            assert (rules.min_length, rules.illiquid_run, rules.stagnant_run) == (int(least), int(idle), int(still))
            assert rules.price_jump == pytest.approx(int(jump) / 100)
            assert str(rules.row) in ("40m", "20m", interval)
