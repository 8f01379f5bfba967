"""Log formats."""

import io
import logging

import pytest

from kronos.logs import JsonFormatter, TextFormatter


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_control_characters_are_escaped_in_messages_and_tracebacks(formatter):
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logger = logging.Logger("test")
    logger.addHandler(handler)
    try:
        raise RuntimeError("\x1b]0;owned\x07 \x9b2J \u202e \u2028")
    except RuntimeError:
        logger.exception("odd \x1b[2J")
    text = stream.getvalue()
    assert "owned" in text
    assert not any(mark in text for mark in "\x1b\x07\x9b\u202e\u2028")


def test_log_lines_are_single_and_printable():
    record = logging.LogRecord("kronos", logging.INFO, "", 0, "GET /\x1b[2J\nfake line\u202e", (), None)
    record.client = "1\r\n2"
    line = TextFormatter().format(record)
    assert line.isprintable()
    assert "fake line" in line
    assert len(JsonFormatter().format(record).splitlines()) == 1
