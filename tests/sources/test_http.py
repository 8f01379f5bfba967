"""Retries, descriptions of failures, URLs in settings, and the server's clock."""

import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pandas as pd
import pytest
import stamina
from hypothesis import given
from hypothesis import strategies as st

from kronos.errors import ParameterError, SourceError
from kronos.settings import get_settings
from kronos.sources.http import (
    RequestFailedError,
    ServerClock,
    call_with_retry,
    connection_error,
    invalid_response_error,
    parse_retry_after,
    status_error,
    validate_base_url,
    validate_proxy,
)


def failing(*errors: Exception) -> tuple[Callable[[], str], list[Exception]]:
    """A call that raises these errors in order and then succeeds, and the list of the remaining errors."""
    remaining = list(errors)

    def call() -> str:
        if remaining:
            raise remaining.pop(0)
        return "done"

    return call, remaining


def test_transient_failures_are_retried():
    call, remaining = failing(
        status_error(503, name="okx"),
        connection_error("connection refused", name="okx"),
        invalid_response_error("sent no JSON"),
    )
    assert call_with_retry(call, name="okx", wait=0.001) == "done"
    assert not remaining


@pytest.mark.parametrize("status", [400, 401, 403, 404, 451])
def test_permanent_failures_are_not_retried(status):
    call, remaining = failing(*[status_error(status, name="okx")] * 3)
    with pytest.raises(SourceError, match=str(status)):
        call_with_retry(call, name="okx", wait=0.001)
    assert len(remaining) == 2


def test_attempts_are_limited_and_reported():
    call, remaining = failing(*[status_error(502, name="okx")] * 9)
    with pytest.raises(SourceError) as caught:
        call_with_retry(call, name="okx", attempts=4, wait=0.001)
    assert len(remaining) == 5
    assert str(caught.value) == "okx answered 502 (bad gateway), 4 times within 1 s; try again later."


def test_no_wait_exceeds_the_patience():
    call, remaining = failing(*[status_error(429, name="okx", retry_after="3600")] * 3)
    with pytest.raises(SourceError, match=r"429 \(too many requests\), .* 3600 s"):
        call_with_retry(call, name="okx", patience=30, wait=0.001)
    assert len(remaining) == 2
    call, remaining = failing(*[status_error(500, name="okx")] * 3)
    with pytest.raises(SourceError):
        call_with_retry(call, name="okx", patience=0.01, wait=1.0)
    assert len(remaining) == 2


def test_retry_after_is_respected_and_logged(caplog):
    caplog.set_level(logging.INFO, "kronos.sources")
    call, _ = failing(status_error(429, name="okx", retry_after="0.2"))
    assert call_with_retry(call, name="okx", wait=0.001) == "done"
    assert caplog.messages == ["okx answered 429 (too many requests); retrying in 0.2 s (attempt 2 of 8)."]


def test_other_exceptions_are_not_retried():
    call, remaining = failing(KeyError("a bug"), KeyError("another"))
    with pytest.raises(KeyError):
        call_with_retry(call, name="okx", wait=0.001)
    assert len(remaining) == 1


def test_retries_are_logged_once_and_other_hooks_of_stamina_still_work(caplog):
    caplog.set_level(logging.INFO)
    call, _ = failing(status_error(503, name="okx"))
    call_with_retry(call, name="okx", wait=0.001)
    assert [record.name for record in caplog.records] == ["kronos.sources"]
    other, _ = failing(KeyError("theirs"))
    stamina.retry(on=KeyError, wait_initial=0.001, wait_jitter=0)(other)()
    assert [record.name for record in caplog.records] == ["kronos.sources", "stamina"]


def test_retry_after_may_be_a_date():
    later = datetime.now(UTC) + timedelta(seconds=90)
    assert 80 < (parse_retry_after(format_datetime(later, usegmt=True)) or 0) <= 90
    assert parse_retry_after(format_datetime(later - timedelta(days=1))) == 0


@given(st.text(max_size=20) | st.floats().map(str) | st.none())
def test_any_retry_after_is_parsed_or_ignored(text):
    seconds = parse_retry_after(text)
    assert seconds is None or 0 <= seconds < float("inf")


@given(st.integers(400, 599))
def test_every_status_has_a_phrase_and_a_hint(status):
    error = status_error(status, name="okx")
    assert isinstance(error, RequestFailedError)
    assert error.reason.startswith(f"answered {status} (")
    assert error.hint
    assert error.retryable == (status >= 500 or status in (408, 418, 425, 429))


@given(st.text(max_size=30) | st.from_regex(r"(https?|socks5)://[a-z@:\[\]./0-9]*", fullmatch=True))
def test_any_text_is_a_valid_url_or_rejected(text):
    for check in (validate_base_url, validate_proxy):
        with suppress(ParameterError):
            assert "://" in check(text, "okx")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("KRONOS_SOURCES", "abc", "KRONOS_SOURCES .*JSON"),
        ("KRONOS_SOURCES__OKX__TIMEOUT", "inf", "KRONOS_SOURCES__OKX__TIMEOUT"),
        ("KRONOS_SOURCES__OKX__BACKOFF", "nan", "KRONOS_SOURCES__OKX__BACKOFF"),
        ("KRONOS_SOURCES__OKX__API_KEY__X", "secret", "KRONOS_SOURCES__OKX__API_KEY"),
    ],
)
def test_invalid_settings_of_a_source_are_named_without_secrets(monkeypatch, name, value, words):
    monkeypatch.setenv(name, value)
    with pytest.raises(ParameterError, match=words) as caught:
        get_settings()
    assert "secret" not in str(caught.value)


@given(
    st.text(max_size=40)
    | st.from_regex(r"Mon, [0-9]{1,3} Jan [0-9]{1,20} [0-9]{1,2}:[0-9]{2}:[0-9]{2} [+-][0-9]{1,15}", fullmatch=True)
)
def test_any_date_header_is_parsed_or_ignored(text):
    ServerClock().update(text)
    seconds = parse_retry_after(text)
    assert seconds is None or seconds >= 0


def test_the_clock_follows_the_latest_valid_date():
    clock = ServerClock()
    assert not clock.is_set
    assert abs(clock.now() - pd.Timestamp.now(tz="UTC")) < pd.Timedelta(minutes=1)
    for date in (
        "Fri, 01 Mar 2030 12:30:00 GMT",
        None,
        "",
        "soon",
        "Mon, 01 Jan 2024 00:00:00 +99999999999999",
        "Fri, 01 Mar 2024 12:30:00 GMT",
        "99",
    ):
        clock.update(date)
    assert clock.is_set
    expected = pd.Timestamp("2024-03-01 12:30", tz="UTC")
    assert expected <= clock.now() < expected + pd.Timedelta(minutes=1)
