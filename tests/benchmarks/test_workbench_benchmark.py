"""The benchmark of the workbench runs. None of its times is asserted."""

import subprocess
import sys
from pathlib import Path

import pytest

from web.workbench import chromium

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_a_quick_run_writes_its_page(tmp_path: Path) -> None:
    chromium()
    output = tmp_path / "performance-workbench.md"
    command = [sys.executable, "-m", "benchmarks.workbench", "--quick", "--output", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    page = output.read_text("utf-8")
    assert "its numbers mean nothing" in page
    goals = page.split("## Goals", 1)[1].split("\n## ", 1)[0]
    rows = [line.strip("| ").split(" | ") for line in goals.splitlines() if line.startswith("|")][2:]
    met = {row[0]: row[-1] for row in rows}
    assert len(met) == 5
    assert met["Page and chart library, gzip"] == "yes", "a size is no time"
