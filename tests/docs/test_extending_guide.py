"""The guide to extending: its blocks run as they stand, one after the other, and do what they say."""

import re
import shutil
import sys

import pytest

import kronos
from docs.running import ROOT, blocks, run

GUIDE = (ROOT / "docs" / "extending.md").read_text("utf-8")


@pytest.mark.slow
def test_every_block_runs(tmp_path):
    shutil.copy(ROOT / "examples" / "data" / "simulated_btc_1h.csv", tmp_path / "btc_1h.csv")
    programs = blocks(GUIDE, "python")
    assert len(programs) == 7
    (tmp_path / "guide.py").write_text("\n".join(programs), "utf-8")
    told = run([sys.executable, "guide.py"], tmp_path).stdout.splitlines()
    assert [re.match(r"Sample 0: (.*) when candles from position 90", line)[1] for line in told[:2]] == [
        "earlier normalised candles change",
        "its volatility changes",
    ]
    assert [line.split(":")[0] for line in told[2:4]] == ["epoch 1", "epoch 2"]
    assert told[4].endswith("weights in " + str(tmp_path.joinpath("runs", "noisy", "best").relative_to(tmp_path)))
    assert "too few dates to say" in told[-1]
    kronos.KronosPredictor.from_pretrained(tmp_path / "runs" / "focal" / "best", tokenizer="kronos-tokenizer-nano")


def test_the_names_that_it_names_are_there():
    for room, names in re.findall(r"`kronos\.(datasets|training|evaluation|baselines)\.(\w+)", GUIDE):
        module = __import__(f"kronos.{room}", fromlist=[names])
        assert hasattr(module, names) or __import__(f"kronos.{room}.{names}")
    for name in re.findall(r"`kronos\.(\w+)`", GUIDE):
        assert hasattr(kronos, name), name
