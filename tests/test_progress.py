"""The progress bar on stderr."""

from __future__ import annotations

from kronos import progress
from kronos.progress import progress_bar


def test_no_bar_without_a_terminal_or_if_disabled(monkeypatch):
    with progress_bar("Working") as update:
        assert update is None
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
