"""The benchmark of batches: its arithmetic, and a quick run with everything that is killed in it."""

import os
import sys

import pytest
from benchmarks.batch import Plan, Results, cores_for, cost_of_million, rate, render
from benchmarks.batch_runs import Disturbed, Measured

from benchmarks import batch


def measured(seconds: float, cpu: float = 0.0) -> Measured:
    """A run whose first shard of 256 took 2 seconds."""
    return Measured(10_000, 0, seconds, 2.0, 10_000 - 256, 300 * 2**20, 500 * 2**20, cpu)


def test_the_arithmetic() -> None:
    assert rate(measured(2 + 9744 / 100), 2) == pytest.approx(50)
    assert cores_for(20_000, 300, 50) == 2  # 66.7 per second
    assert cost_of_million(50, 0.09) == pytest.approx(0.5)


def test_the_page_has_every_figure() -> None:
    local, ray = measured(2 + 9744 / 100, cpu=200), measured(2 + 9744 / 80, cpu=240)
    results = Results(local, local, ray, Disturbed(9, 20, measured(60.0)), "0123456789abcdef" * 4)
    page = render(results, Plan(price=0.09, currency="EUR"), quick=False)
    assert "| ray | 10,000 | 2.0 s | 123.8 s | 12.50 ms | 40.0 | 24.00 ms |" in page
    assert "Ray itself costs +2.50 ms and +4.00 ms of CPU time" in page
    assert "| local | 50.0 | 2 | 0.50 EUR |" in page
    assert "smoke test" not in page


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(sys.platform != "linux", reason="finds the processes to kill in /proc")
def test_a_quick_run_is_complete(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ray", reason="needs Ray, of the extra ray, which make test does not install")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.setattr("sys.argv", ["benchmarks.batch", "--quick", "--workers", "2"])
    batch.main()
    printed = capsys.readouterr().out
    assert "smoke test" in printed
    assert "All three tables are complete" in printed
