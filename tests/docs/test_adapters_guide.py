"""The guide to sktime and fev: its blocks run as they stand, one after the other."""

import sys

import pytest

from docs.running import ROOT, blocks, run

GUIDE = (ROOT / "docs" / "adapters.md").read_text("utf-8")


@pytest.mark.slow
def test_every_block_runs(tmp_path):
    for extra in ("sktime", "fev"):
        pytest.importorskip(extra, reason=f"needs {extra}, of the extra {extra}, which make test does not install")
    [line] = [line for block in blocks(GUIDE, "sh") for line in block.strip().splitlines()]
    run(line, tmp_path)
    programs = blocks(GUIDE, "python")
    assert len(programs) == 4
    (tmp_path / "guide.py").write_text("\n".join(programs), "utf-8")
    told = run([sys.executable, "guide.py"], tmp_path).stdout
    assert "KronosForecaster 4 windows, error" in told
    assert "NaiveForecaster 4 windows, error" in told
    assert told.splitlines()[-1] == "kronos-nano 3 3 0"


def test_names_in_the_guide_are_there():
    adapters = ROOT / "src" / "kronos" / "adapters"
    for name, module in (("KronosForecaster", "sktime"), ("KronosModel", "fev")):
        assert f"kronos.adapters.{name}" in GUIDE
        assert f"class {name}(" in (adapters / f"{module}.py").read_text("utf-8")
    for count in ("kronos_candles", "kronos_flat", "kronos_raised", "kronos_gaps"):
        assert f"`{count}`" in GUIDE
        assert f'"{count}"' in (adapters / "fev.py").read_text("utf-8")
