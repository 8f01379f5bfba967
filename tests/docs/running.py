"""What guides show, taken out of them and run: blocks of a language, a shell without a network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language, in the order of the page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def run(command: list[str] | str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a line or a program in a folder, in which ``kronos`` and ``python`` are the ones under test."""
    plain = {name: os.environ[name] for name in os.environ if name not in ("COLUMNS", "LINES")}
    quiet = {name: value for name, value in plain.items() if not name.startswith("KRONOS_")}
    environment = quiet | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "KRONOS_OFFLINE": "1",
        "NO_COLOR": "1",
    }
    done = subprocess.run(
        command, shell=isinstance(command, str), cwd=folder, env=environment,
        capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done
