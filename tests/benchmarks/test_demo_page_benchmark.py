"""The benchmark of the demo page runs. None of its times is asserted."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from web.workbench import chromium

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_a_quick_run_writes_its_page(tmp_path: Path) -> None:
    chromium()
    if not (ROOT / "out/demo-page/index.html").is_file() or shutil.which("node") is None:
        reason = "needs the built demo page: run 'make demo-page'"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    output = tmp_path / "performance-demo-page.md"
    command = [sys.executable, "-m", "benchmarks.demo_page", "--quick", "--output", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    page = output.read_text("utf-8")
    assert "its numbers mean nothing" in page
    goals = page.split("## Goals", 1)[1].split("\n## ", 1)[0]
    assert len([line for line in goals.splitlines() if line.startswith("|")]) == 5
    assert "ONNX Runtime, WebAssembly | 14." in page
