"""``kronos mcp`` itself: what it loads, and what it says where the SDK is missing."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from kronos.cli import app


def test_help_shows_what_to_paste_and_does_not_load_the_sdk():
    program = (
        "import sys; sys.argv = ['kronos', 'mcp', '--help']\n"
        "from kronos.cli import main\n"
        "try: main()\n"
        "except SystemExit: assert not {'mcp', 'anyio', 'torch', 'pandas'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert '"mcpServers"' in done.stdout


def test_without_the_sdk_one_sentence_names_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "mcp.server", None)
    result = CliRunner().invoke(app, ["mcp"], prog_name="kronos")
    assert result.exit_code == 2
    said = 'kronos mcp needs the MCP SDK, version 2 or newer; install it with python -m pip install "mcp>=2.0".'
    assert said in result.stderr
