"""The benchmark of the live record runs. None of its times is asserted."""

from pathlib import Path

import pytest

from benchmarks import live


@pytest.mark.slow
def test_a_quick_run_verifies_its_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "live.md"
    monkeypatch.setattr("sys.argv", ["benchmarks.live", "--quick", "--output", str(output)])
    live.main()
    page = output.read_text("utf-8")
    assert "its numbers mean nothing" in page
    assert "A record of 61 rows" in page
    assert "| verify all rows |" in page
