"""Start-up: importing the package, and the command line's help, each in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from benchmarks.timing import Times

NUMPY, KRONOS = "python -c 'import numpy'", "python -c 'import kronos'"
BARE, HELP = "a bare typer program --help", "python -m kronos --help"
_BARE_PROGRAM = '''\
import typer

app = typer.Typer()


@app.command()
def greet(name: str, loudly: bool = False) -> None:
    """Greet somebody."""
    typer.echo(name.upper() if loudly else name)


if __name__ == "__main__":
    app()
'''


def measure_startup(rounds: int) -> dict[str, Times]:
    """Seconds of each program, started in turn so that a disturbance meets all of them."""
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "bare.py"
        bare.write_text(_BARE_PROGRAM, "utf-8")
        programs = {
            NUMPY: ("-c", "import numpy"),
            KRONOS: ("-c", "import kronos"),
            BARE: (str(bare), "--help"),
            HELP: ("-m", "kronos", "--help"),
        }
        seconds: dict[str, list[float]] = {name: [] for name in programs}
        for number in range(rounds + 1):  # the first fills the caches and isn't counted
            for name, arguments in programs.items():
                taken = _start(arguments, folder)
                if number:
                    seconds[name].append(taken)
    return {name: Times(tuple(taken)) for name, taken in seconds.items()}


def _start(arguments: tuple[str, ...], folder: str) -> float:
    started = perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return perf_counter() - started
