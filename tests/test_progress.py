"""The progress bar on stderr."""

from __future__ import annotations

from kronos import progress
from kronos.progress import progress_bar


def test_without_a_terminal_long_work_prints_a_line_every_so_often(monkeypatch, capsys):
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    with progress_bar("Forecasting") as update:
        for step in range(1, 3601):
            now = float(step)
            update(step, 3600)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Forecasting: 0 % after 10 s"
    assert 8 < len(lines) < 40
    assert all("\r" not in line and "\x1b" not in line for line in lines)


def test_short_work_prints_nothing_without_a_terminal(capsys):
    with progress_bar("Downloading", show_bytes=True) as update:
        for step in range(100):
            update(step, 100)
    assert capsys.readouterr().err == ""


def test_nothing_is_printed_without_stderr(monkeypatch):
    monkeypatch.setattr("sys.stderr", None)
    with progress_bar("Working") as update:
        assert update is None
    assert not progress.is_interactive()


def test_no_bar_if_disabled(monkeypatch):
    monkeypatch.setattr(progress, "is_interactive", lambda: True)
    with progress_bar("Working", enabled=False) as update:
        assert update is None


def test_bar_shows_the_title_and_then_the_next_title(monkeypatch, capsys):
    monkeypatch.setattr(progress, "is_interactive", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with progress_bar("Forecasting [x]", show_remaining=True, next_title="Scoring") as update:
        assert update is not None
        update(1, 2)
        update(2, 2)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Forecasting [x]" in captured.err
    assert "Scoring" in captured.err


def test_bytes_are_shown_in_their_unit(monkeypatch, capsys):
    monkeypatch.setattr(progress, "is_interactive", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with progress_bar("Downloading", show_bytes=True) as update:
        assert update is not None
        update(500_000, 1_000_000)
    assert "MB" in capsys.readouterr().err
