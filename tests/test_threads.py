"""How torch's threads wait for each other: set before torch is loaded, and never against the user's own setting."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = "import {}; import os, sys; print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"


def spin_count(module: str = "kronos", **variables: str) -> str:
    plain = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    command = [sys.executable, "-c", PROGRAM.format(module)]
    done = subprocess.run(command, env=plain | variables, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("module", ["kronos", "kronos.cli", "kronos.training.torchrun"])
def test_threads_sleep_soon_whatever_is_imported_first(module):
    count, loaded = spin_count(module).split()
    assert 0 < int(count) < 300_000
    assert loaded == "False"


def test_the_users_own_setting_stays():
    assert spin_count(GOMP_SPINCOUNT="7") == "7 False"
    assert spin_count(OMP_WAIT_POLICY="active") == "None False"
