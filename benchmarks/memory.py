"""Peak memory of each stage on the way to a forecast, each in a fresh interpreter.

``python -m benchmarks.memory STAGE MODEL HISTORY HORIZON SAMPLES PRECISION`` is one such interpreter: it goes as far
as the stage and prints its peak resident bytes. It imports nothing heavy itself, since that is what is measured.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from benchmarks.plans import Architecture, Case, Plan

if TYPE_CHECKING:
    from kronos.inference import Precision

Stage = Literal["import", "torch", "load", "forecast", "plain"]
_ROOT = Path(__file__).resolve().parents[1]
_STATUS = Path("/proc/self/status")


def measure_stages(plan: Plan) -> dict[str, int]:
    """Peak bytes of kronos-small's stages, by their title."""
    with tempfile.TemporaryDirectory() as folder:
        model = _saved(plan.architecture("kronos-small"), Path(folder))
        case = plan.heavy
        return {
            "import kronos": _peak("import", model, case),
            "kronos.KronosPredictor, which imports torch": _peak("torch", model, case),
            "kronos-small loaded": _peak("load", model, case),
            f"{case.title}, forecast": _peak("forecast", model, case),
            f"{case.title}, plain decoder (one step)": _peak("plain", model, case),
        }


def measure_peak(architecture: Architecture, case: Case, precision: Precision = "exact") -> int:
    """Peak bytes of one forecast."""
    with tempfile.TemporaryDirectory() as folder:
        return _peak("forecast", _saved(architecture, Path(folder)), case, precision)


def measure_bundled_peak(ref: str, case: Case) -> int:
    """The same of a checkpoint that has real weights, by name."""
    return _peak("forecast", ref, case)


def _saved(architecture: Architecture, folder: Path) -> str:
    from benchmarks.inputs import save_networks

    return str(save_networks(architecture, folder))


def _peak(stage: Stage, model: str, case: Case, precision: Precision = "exact") -> int:
    numbers = (str(n) for n in (case.history, case.horizon, case.samples))
    command = [sys.executable, "-m", "benchmarks.memory", stage, model, *numbers, precision]
    printed = subprocess.run(command, cwd=_ROOT, check=True, capture_output=True, text=True).stdout
    return int(printed)


def _go(stage: Stage, model: str, case: Case, precision: Precision) -> None:
    import kronos

    if stage == "import":
        return
    predictor_class = kronos.KronosPredictor
    if stage == "torch":
        return
    predictor = predictor_class.from_pretrained(model, device="cpu", precision=precision)
    if stage == "load":
        return
    from benchmarks.decoding import calling, draws
    from benchmarks.inputs import random_candles

    candles = random_candles(case.history)
    if stage == "forecast":
        calling(predictor, case, candles)()
    else:
        from benchmarks.plain import plain_forecast

        plain_forecast(predictor, candles.frame, case.horizon, case.samples, draws(case, candles), steps=1)


def peak_bytes() -> int:
    """Peak resident bytes of this process."""
    if _STATUS.is_file():
        # Linux' ru_maxrss of a started program begins at the peak of the one that started it; VmHWM begins at 0.
        line = next(line for line in _STATUS.read_text("utf-8").splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _main(arguments: list[str]) -> None:
    stage, model, history, horizon, samples, precision = arguments
    _go(stage, model, Case(int(history), int(horizon), int(samples)), precision)  # type: ignore[arg-type]
    print(peak_bytes())


if __name__ == "__main__":
    _main(sys.argv[1:])
