"""The examples run from the repository's root and draw their pictures."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import forks
from kronos.zoo import DEFAULT_MODEL, find_entry

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("prediction_example", "prediction_batch_example", "prediction_wo_vol_example")


@pytest.mark.parametrize("name", NAMES)
def test_examples_are_short(name):
    assert len((ROOT / "examples" / f"{name}.py").read_text("utf-8").splitlines()) <= 60


@pytest.mark.slow
@pytest.mark.skipif(find_entry(DEFAULT_MODEL) is None, reason="the bundled model is not in this checkout")
@pytest.mark.parametrize("name", NAMES)
def test_examples_draw_their_pictures(name):
    picture = ROOT / "examples" / "output" / f"{name}.png"
    picture.unlink(missing_ok=True)
    environment = os.environ | {"KRONOS_OFFLINE": "1"}
    command = [sys.executable, f"examples/{name}.py"]
    done = forks.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 20_000
