"""What the command lines of benchmarks share: the browser that they drive, and the page that they write."""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from benchmarks.timing import say
from kronos.atomic import write_text

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def find_chromium() -> str:
    """Return the browser: the one that KRONOS_CHROMIUM names, or an installed one.

    Raises:
        SystemExit: If there is none.
    """
    program = os.environ.get("KRONOS_CHROMIUM") or next(filter(None, map(shutil.which, _BROWSERS)), None)
    if program is None:
        raise SystemExit("Chromium was not found: install it, or name it in KRONOS_CHROMIUM.")
    return program


def print_or_write(page: str, output: Path | None) -> None:
    """Write a page to a file, or print it if there is none."""
    if output is None:
        print(page)
    else:
        write_text(output, page)
        say(f"wrote {output}")


def run_benchmark(module: str, description: str | None, page: Path, run: Callable[[bool], str]) -> None:
    """Parse the command line, run a benchmark, print its page, and write it.

    Args:
        module: Name of the benchmark's module, such as ``benchmarks.serving``.
        description: Its docstring.
        page: The page in docs/ to write, unless the run is quick.
        run: Measures and renders; its argument says whether the run is quick.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("--quick", action="store_true", help="a smoke run that measures little, printed")
    parser.add_argument("--output", type=Path, help="the file to write; a page in docs/ where not --quick")
    arguments = parser.parse_args()
    text = run(arguments.quick)
    print(text)
    output = arguments.output or (None if arguments.quick else page)
    if output is not None:
        write_text(output, text)
        say(f"wrote {output}")
