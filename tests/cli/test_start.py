"""Start of the command line: help with examples, few imports, completion."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata

import pytest

COMMANDS = [
    (),
    ("forecast",),
    ("evaluate",),
    ("calibrate",),
    ("batch",),
    ("paper",),
    ("models",),
    ("models", "list"),
    ("models", "show"),
    ("models", "download"),
    ("doctor",),
]
HEAVY = {"torch", "pandas", "numpy", "matplotlib", "huggingface_hub", "pyarrow", "exchange_calendars", "scipy"}


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_has_examples(invoke, command):
    done = invoke(*command, "--help")
    assert done.exit_code == 0
    assert "Examples" in done.stdout
    assert f"kronos {command[0] if command else 'forecast'}" in done.stdout.split("Examples")[1]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("forecast", "--help"),
        ("evaluate", "--help"),
        ("calibrate", "--help"),
        ("--version",),
        ("models", "--help"),
    ],
)
def test_help_loads_nothing_heavy(arguments):
    program = f"""
import sys
sys.argv = ["kronos", *{arguments!r}]
from kronos.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code
loaded = sorted({HEAVY!r} & set(sys.modules))
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


@pytest.mark.slow
def test_missing_file_is_reported_before_torch_is_imported(tmp_path):
    program = f"""
import sys
sys.argv = ["kronos", "forecast", {str(tmp_path / "missing.csv")!r}]
from kronos.cli import main
try:
    main()
except SystemExit as end:
    assert end.code == 2
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def test_version(invoke, spawn):
    assert invoke("--version").stdout == f"kronos {metadata.version('kronos-forecast')}\n"
    assert spawn("--version").stdout == f"kronos {metadata.version('kronos-forecast')}\n"


def test_help_without_arguments(invoke):
    done = invoke()
    assert "forecast" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("kronos fore", "forecast"),
        ("kronos models show kronos-ba", "kronos-base"),
        ("kronos forecast --preset cons", "conservative"),
        ("kronos forecast --model kronos-sm", "kronos-small"),
        ("kronos forecast --calendar XS", "XSHG"),
    ],
)
def test_completion(words, expected):
    environment = {
        **os.environ,
        "_KRONOS_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    program = "from kronos.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    assert expected in done.stdout.split(), done.stderr
