"""Trading days and hours of exchanges, as exchange_calendars has them."""

import exchange_calendars as xc
import numpy as np
import pytest

from kronos.calendars.sessions import schedule


@pytest.mark.parametrize("registry", [True, False])
def test_a_calendar_is_built_once(monkeypatch: pytest.MonkeyPatch, registry: bool) -> None:
    built = []
    original = xc.ExchangeCalendar.__init__

    def build(self: xc.ExchangeCalendar, *args: object, **options: object) -> None:
        built.append(self.name)
        original(self, *args, **options)

    monkeypatch.setattr(xc.ExchangeCalendar, "__init__", build)
    if not registry:  # a version that keeps its classes elsewhere
        monkeypatch.delattr(xc.calendar_utils.global_calendar_dispatcher, "_calendar_factories")
        monkeypatch.setattr(xc, "get_calendar", lambda name, **dates: xc.calendar_utils.XICEExchangeCalendar(**dates))
    decade = {True: "1980", False: "1970"}[registry]  # each is cached
    found = schedule("XICE", np.datetime64(f"{decade}-03-01"), np.datetime64("2024-03-01"))
    assert built == ["XICE"] * (1 if registry else 2)
    assert found.dates[-1] > np.datetime64("2029-12-20")
