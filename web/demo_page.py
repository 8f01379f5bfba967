"""Build the demo page: export the bundled model, then Vite.

``python web/demo_page.py --output out/demo-page`` writes a folder for any static host. Node and npm are found as for
the workbench; the export needs the extra ``onnx``.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from importlib import resources
from pathlib import Path

from build import WEB, Npm, find_npm  # web/build.py: this folder comes first on the path of a script in it

ROOT = WEB.parent
MODEL = "kronos-nano"
WEIGHTS = "float16"  # exact for this model, and half the size
SAMPLE = "simulated_btc_1h.csv"


def stage_files(folder: Path) -> None:
    """Write what the page loads besides its own program: the exported model, and the simulated sample."""
    from kronos.onnx import export_onnx

    (folder / "sample").mkdir(parents=True)
    export_onnx(MODEL, folder / "model", weights=WEIGHTS, local_files_only=True)
    (folder / "sample" / SAMPLE).write_bytes((resources.files("kronos.samples") / SAMPLE).read_bytes())


def build_page(output: Path) -> None:
    """Build the page into a folder, whose content is replaced.

    Raises:
        RuntimeError: If there is no node, or a step fails.
    """
    npm = find_npm()
    if not (WEB / "node_modules" / "onnxruntime-web").is_dir():
        _run(npm, ["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
    with tempfile.TemporaryDirectory() as staged:
        stage_files(Path(staged))
        os.environ["KRONOS_DEMO_FILES"] = staged
        _run(npm, ["run", "build", "--workspace", "demo", "--", "--outDir", str(output.resolve())])


def _run(npm: Npm, arguments: list[str]) -> None:
    if npm(arguments):
        raise RuntimeError(f"npm {' '.join(arguments)} failed.")


def main() -> None:
    """Build the page where the command line says."""
    parser = argparse.ArgumentParser(prog="python web/demo_page.py", description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "out" / "demo-page", help="folder to write")
    try:
        build_page(parser.parse_args().output)
    except RuntimeError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
