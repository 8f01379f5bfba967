"""Asking again: as often as told, as long as told, and never for what cannot pass."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import stamina
from hypothesis import given
from hypothesis import strategies as st

from kronos.errors import SourceError
from kronos.sources.http import RequestFailedError, broken, call_with_retry, refused, seconds_asked, unreachable


def failing(*faults: Exception) -> tuple[Callable[[], str], list[Exception]]:
    """A call that fails with these, one after another, and then succeeds; and those still to come."""
    left = list(faults)

    def call() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return call, left


def test_what_may_pass_is_asked_again():
    call, left = failing(
        refused(503, name="okx"), unreachable("connection refused", name="okx"), broken("sent no JSON")
    )
    assert call_with_retry(call, name="okx", wait=0.001) == "done"
    assert not left


@pytest.mark.parametrize("status", [400, 401, 403, 404, 451])
def test_what_cannot_pass_is_not(status):
    call, left = failing(*[refused(status, name="okx")] * 3)
    with pytest.raises(SourceError, match=str(status)):
        call_with_retry(call, name="okx", wait=0.001)
    assert len(left) == 2


def test_attempts_are_counted_and_told():
    call, left = failing(*[refused(502, name="okx")] * 9)
    with pytest.raises(SourceError) as caught:
        call_with_retry(call, name="okx", attempts=4, wait=0.001)
    assert len(left) == 5
    assert str(caught.value) == "okx answered 502 (bad gateway), 4 times within 1 s; try again later."


def test_no_wait_begins_that_ends_after_the_patience():
    call, left = failing(*[refused(429, name="okx", retry_after="3600")] * 3)
    with pytest.raises(SourceError, match=r"429 \(too many requests\), and asks to wait 3600 s; wait a little"):
        call_with_retry(call, name="okx", patience=30, wait=0.001)
    assert len(left) == 2
    call, left = failing(*[refused(500, name="okx")] * 3)
    with pytest.raises(SourceError):
        call_with_retry(call, name="okx", patience=0.01, wait=1.0)
    assert len(left) == 2


def test_the_source_says_how_long_to_wait(caplog):
    caplog.set_level(logging.INFO, "kronos.sources")
    call, _ = failing(refused(429, name="okx", retry_after="0.2"))
    assert call_with_retry(call, name="okx", wait=0.001) == "done"
    assert caplog.messages == ["okx answered 429 (too many requests); asking again in 0.2 s (try 2 of 8)."]


def test_other_exceptions_are_not_ours():
    call, left = failing(KeyError("a fault of the program"), KeyError("another"))
    with pytest.raises(KeyError):
        call_with_retry(call, name="okx", wait=0.001)
    assert len(left) == 1


def test_retries_are_reported_once_and_those_of_others_still_are(caplog):
    caplog.set_level(logging.INFO)
    call, _ = failing(refused(503, name="okx"))
    call_with_retry(call, name="okx", wait=0.001)
    assert [record.name for record in caplog.records] == ["kronos.sources"]
    other, _ = failing(KeyError("theirs"))
    stamina.retry(on=KeyError, wait_initial=0.001, wait_jitter=0)(other)()
    assert [record.name for record in caplog.records] == ["kronos.sources", "stamina"]


def test_a_date_to_wait_for():
    later = datetime.now(UTC) + timedelta(seconds=90)
    assert 80 < (seconds_asked(format_datetime(later, usegmt=True)) or 0) <= 90
    assert seconds_asked(format_datetime(later - timedelta(days=1))) == 0


@given(st.text(max_size=20) | st.floats().map(str) | st.none())
def test_whatever_stands_in_retry_after_is_seconds_or_nothing(text):
    seconds = seconds_asked(text)
    assert seconds is None or 0 <= seconds < float("inf")


@given(st.integers(400, 599))
def test_every_status_has_words_and_a_mend(status):
    fault = refused(status, name="okx")
    assert isinstance(fault, RequestFailedError)
    assert fault.reason.startswith(f"answered {status} (")
    assert fault.mend
    assert fault.again == (status >= 500 or status in (408, 418, 425, 429))
