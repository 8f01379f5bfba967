"""The benchmark of signals: a quick run prints its figures."""

import pytest

from benchmarks import signals


@pytest.mark.slow
def test_a_quick_run_prints_its_figures(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["benchmarks.signals", "--quick"])
    signals.main()
    printed = capsys.readouterr().out
    assert "smoke test" in printed
    assert "of the engine's own throughput" in printed
