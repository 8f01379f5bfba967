"""The rules of the house: who imports whom, what loads when, what is pinned."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "kronos"
HEAVY = {
    *("torch", "numpy", "pandas", "scipy", "matplotlib", "pyarrow", "huggingface_hub", "pydantic"),
    *("exchange_calendars", "safetensors", "typer", "rich"),
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def loaded_by(program: str) -> set[str]:
    """Run a program in a process of its own; give the heavy modules it loaded."""
    tail = f"\nimport sys; print('\\nLOADED', *sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program + tail], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split()[1:])


def test_import_rules():
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_modules_at_the_bottom_import_only_errors_and_formatting():
    for name in ("errors", "intervals", "provenance", "settings", "atomic", "locks"):
        tree = ast.parse((SOURCE / f"{name}.py").read_text("utf-8"))
        imported = {
            node.module
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("kronos")
        }
        assert imported <= {"kronos.errors", "kronos.formatting"}, name


def test_importing_the_package_loads_nothing_heavy():
    assert loaded_by("import kronos") == set()
    assert loaded_by("import kronos.errors, kronos.intervals, kronos.atomic, kronos.provenance") == set()
    assert loaded_by("import kronos.zoo; kronos.zoo.list_checkpoints()") == set()


def test_help_loads_neither_torch_nor_pandas():
    program = """
import sys
sys.argv = ["kronos", "--help"]
from kronos.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code
"""
    assert loaded_by(program) <= {"typer", "rich"}


ROOMS = ["forecasts", "baselines", "metrics", "calibration", "candles", "calendars", "plotting", "reports", "sources"]


@pytest.mark.slow
@pytest.mark.parametrize("room", ROOMS)
def test_rooms_without_torch_load_none(room):
    assert "torch" not in loaded_by(f"import kronos.{room}")


@pytest.mark.slow
def test_networks_load_no_pandas():
    assert "pandas" not in loaded_by("import kronos.nn")


def test_every_public_name_is_there():
    import kronos

    for name in kronos.__all__:
        assert getattr(kronos, name) is not None
    assert set(kronos.__all__) <= set(dir(kronos))


def constraints() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = {}
    for line in lines:
        if line.startswith("#") or not line:
            continue
        assert re.fullmatch(r"[A-Za-z0-9][\w.-]*==\d[\w.]*", line), f"{line!r} is no plain pin"
        name, version = line.split("==")
        pins[re.sub(r"[-_.]+", "-", name).lower()] = Version(version)
    return pins


def requirements() -> list[Requirement]:
    """What ``make test`` installs: not Qlib, which has an environment of its own, nor Ray, ONNX and vendors' libraries.

    quantstats needs one of these. sktime and fev need older versions of others.
    """
    extras = PROJECT["project"]["optional-dependencies"].items()
    left_out = ("qlib", "equities", "quantstats", "ray", "sktime", "fev", "onnx")
    texts = [text for name, extra in extras if name not in left_out for text in extra]
    texts += PROJECT["project"]["dependencies"]
    return [parsed for text in texts if (parsed := Requirement(text)).name != "kronos-forecast"]


def test_constraints_pin_every_dependency_within_its_bounds():
    pins = constraints()
    for requirement in requirements():
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        assert name in pins, f"{name} is not pinned"
        assert pins[name] in requirement.specifier, f"{name} is pinned below its floor"


def test_qlibs_constraints_are_plain_pins_within_their_bounds():
    lines = (ROOT / "constraints-qlib.txt").read_text("utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    assert all(re.fullmatch(r"\d[\w.]*", version) for version in pins.values())
    [qlib] = map(Requirement, PROJECT["project"]["optional-dependencies"]["qlib"])
    assert Version(pins["pyqlib"]) in qlib.specifier


def test_constraints_are_closed():
    """Whatever a pinned package needs on this platform is pinned too."""
    pins = constraints()
    for name in pins:
        if name == "colorama":  # Windows only
            continue
        for text in metadata.requires(name) or ():
            needed = Requirement(text)
            if needed.marker is not None and not needed.marker.evaluate({"extra": ""}):
                continue
            assert re.sub(r"[-_.]+", "-", needed.name).lower() in pins, f"{name} needs {needed.name}"


def test_the_version_is_said_once_and_the_same():
    import kronos

    assert kronos.__version__ == PROJECT["project"]["version"] == metadata.version("kronos-forecast")


@pytest.mark.skipif(sys.platform == "win32", reason="make and bash are not Windows'")
def test_the_two_commands_and_ci_are_sound():
    listed = subprocess.run(["make", "-n", "demo"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "kronos forecast --demo --plot" in listed.stdout
    subprocess.run(["bash", "-n", ".ci/run"], cwd=ROOT, check=True)
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o100


def modules() -> dict[str, str]:
    """The source of every module, by its path below src/kronos."""
    return {str(path.relative_to(SOURCE)): path.read_text("utf-8") for path in sorted(SOURCE.rglob("*.py"))}


@pytest.mark.slow
def test_a_public_class_name_has_one_meaning():
    places: dict[str, list[str]] = {}
    for name, text in modules().items():
        for node in ast.parse(text).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(name)
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


# Gerunds that are the field's own nouns.
GERUNDS = {
    *(
        "batching",
        "cleaning",
        "formatting",
        "plotting",
        "preprocessing",
        "resampling",
        "rolling",
        "sampling",
        "scoring",
    ),
    *("config_loading", "fitting", "forecasting", "model_loading", "training", "typing"),
}


def test_modules_are_nouns():
    found = {Path(name).stem for name in modules() if Path(name).stem.endswith("ing")}
    assert found <= GERUNDS


# Small on purpose: an entry point, or a type, rule or registry that others import without anything else.
SHORT = {
    "__main__.py",
    "errors.py",
    "progress.py",
    "typing.py",
    "baselines/registry.py",
    "inference/registry.py",
    "mcp/stdio.py",
    "serve/middleware/cached_predictions.py",
    "training/torchrun.py",
}
MODULES, LONGEST, SHORTEST = 373, 500, 60


def test_modules_are_neither_crumbs_nor_heaps():
    sizes = {name: len(text.splitlines()) for name, text in modules().items() if Path(name).name != "__init__.py"}
    assert len(sizes) <= MODULES
    assert {name: lines for name, lines in sizes.items() if lines > LONGEST} == {}
    assert {name for name, lines in sizes.items() if lines < SHORTEST} <= SHORT


def test_the_contributing_guide_names_files_that_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    named = {name for name in re.findall(r"`(?:src/kronos/)?([a-z_/]+(?:\.py|/))", text) if "<" not in name}
    assert len(named) > 30
    assert {name for name in named if not ((SOURCE / name).exists() or (ROOT / name).exists())} == set()
