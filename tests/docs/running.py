"""What guides show, taken out of them and run: blocks of a language, commands without a network."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

import forks

ROOT = Path(__file__).resolve().parents[2]


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language, in the order of the page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def run(command: list[str] | str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a line or a program in a folder, in which ``kronos`` and ``python`` are the ones under test.

    They run in forked processes; a line with anything else, or with syntax of the shell, runs in a shell.

    Args:
        command: The line as it stands in a guide, or the words of a program.
        folder: Where it runs.
        variables: Variables of its environment, which make the work of a line smaller where its options leave that to
            a configuration.
    """
    plain = {name: os.environ[name] for name in os.environ if name not in ("COLUMNS", "LINES")}
    quiet = {name: value for name, value in plain.items() if not name.startswith("KRONOS_")}
    environment = quiet | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "KRONOS_OFFLINE": "1",
        "KRONOS_THREADS": "1",  # the tests share the cores; and thus no processes for an evaluation
        "NO_COLOR": "1",
        **variables,
    }
    options = {"cwd": folder, "capture_output": True, "encoding": "utf-8"}
    settings, program = _program(command)
    if program:
        done = forks.run(program, preload=forks.EVALUATING, env=environment | settings, **options)
    else:
        done = subprocess.run(command, shell=isinstance(command, str), env=environment, check=False, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


def _program(command: list[str] | str) -> tuple[dict[str, str], list[str]]:
    """The variables that a line sets, and the words of the Python process that it starts; none if it is not that."""
    words = command
    if isinstance(command, str):
        lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words = list(lexer)
        if "$" in command or "*" in command or any(re.fullmatch(r"[();<>|&]+", word) for word in words):
            return {}, []
    settings = list(takewhile(re.compile(r"[A-Z_]+=").match, words))
    name, *rest = words[len(settings) :]
    start = {"kronos": ["-m", "kronos"], "python": [], sys.executable: []}.get(name)
    if start is None:
        return {}, []
    return dict(setting.split("=", 1) for setting in settings), [sys.executable, *start, *rest]
