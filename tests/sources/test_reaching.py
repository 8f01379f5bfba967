"""What settings may say about reaching a source, and the time that its answers tell."""

from contextlib import suppress

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kronos.errors import ParameterError
from kronos.settings import get_settings
from kronos.sources.http import ServerClock, checked_base, checked_proxy, seconds_asked


@given(st.text(max_size=30) | st.from_regex(r"(https?|socks5)://[a-z@:\[\]./0-9]*", fullmatch=True))
def test_any_text_is_an_address_or_is_refused(text):
    for check in (checked_base, checked_proxy):
        with suppress(ParameterError):
            assert "://" in check(text, "okx")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("KRONOS_SOURCES", "abc", "The setting KRONOS_SOURCES cannot be read: it has to be JSON"),
        ("KRONOS_SOURCES__OKX__TIMEOUT", "inf", "KRONOS_SOURCES__OKX__TIMEOUT cannot be 'inf'"),
        ("KRONOS_SOURCES__OKX__BACKOFF", "nan", "KRONOS_SOURCES__OKX__BACKOFF cannot be 'nan'"),
        ("KRONOS_SOURCES__OKX__API_KEY__X", "secret", "KRONOS_SOURCES__OKX__API_KEY cannot be what it is"),
    ],
)
def test_settings_that_cannot_be(monkeypatch, name, value, words):
    monkeypatch.setenv(name, value)
    with pytest.raises(ParameterError, match=words) as caught:
        get_settings()
    assert "secret" not in str(caught.value)


@given(
    st.text(max_size=40)
    | st.from_regex(r"Mon, [0-9]{1,3} Jan [0-9]{1,20} [0-9]{1,2}:[0-9]{2}:[0-9]{2} [+-][0-9]{1,15}", fullmatch=True)
)
def test_any_date_of_an_answer_is_read_or_ignored(text):
    ServerClock().note(text)
    asked = seconds_asked(text)
    assert asked is None or asked >= 0


def test_the_latest_answers_date_is_the_time():
    clock = ServerClock()
    assert not clock.heard
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
        clock.note(date)
    assert clock.heard
    told = pd.Timestamp("2024-03-01 12:30", tz="UTC")
    assert told <= clock.now() < told + pd.Timedelta(minutes=1)
