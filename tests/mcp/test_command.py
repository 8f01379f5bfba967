"""The command ``kronos mcp``: imports, and the error without the SDK."""

from __future__ import annotations

import subprocess
import sys


def test_help_shows_a_configuration_without_loading_the_sdk():
    program = (
        "import sys; sys.argv = ['kronos', 'mcp', '--help']\n"
        "from kronos.cli import main\n"
        "try: main()\n"
        "except SystemExit: assert not {'mcp', 'anyio', 'torch', 'pandas'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert '"mcpServers"' in done.stdout


def test_a_missing_sdk_is_an_error_with_the_install_command():
    program = (
        "import sys; sys.modules['mcp'] = None; sys.argv = ['kronos', 'mcp']\nfrom kronos.cli import main\nmain()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 2
    assert 'python -m pip install "mcp>=2.0"' in done.stderr
    assert done.stderr.count("\n") == 1
