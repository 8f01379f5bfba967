"""What objects show in notebooks: valid, escaped HTML, and a progress bar in the cell's output."""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kronos import Candles, Forecast, KronosPredictor
from kronos.candles import COLUMNS
from kronos.forecasts import ForecastMetadata, Forecasts
from kronos.notebook import SummaryTable, format_column, format_times, html_summary
from kronos.progress import progress_bar
from networks import random_model, random_tokenizer

ATTACK = "<img src=x onerror=alert(1)>\"'&"


class Page(HTMLParser):
    """The tags and text of a fragment; raises if tags are not nested."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not any(name.startswith("on") for name, _ in attrs)
        self.tags.append(tag)
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def candles(rows: int = 40, symbol: str | None = "BTC", **fields: Any) -> Candles:
    times = pd.date_range("2024-01-01", periods=rows, freq="1h", name="timestamps")
    close = 100 + np.arange(rows) / 4
    frame = pd.DataFrame({"open": close, "high": close + 1, "low": close - 1, "close": close, "volume": 5.0}, times)
    return Candles.from_frame(frame, symbol=symbol, interval="1h", **fields)


def forecast(horizon: int, samples: int = 50, **fields: Any) -> Forecast:
    past = candles(**fields)
    times = pd.date_range(past.end, periods=horizon + 1, freq="1h")[1:]
    paths = np.full((samples, horizon, len(COLUMNS)), 110.0) + np.arange(samples)[:, None, None]
    metadata = ForecastMetadata("toy", details={"repairs": {"volume below 0": 0.726}}, notes=(f"A note {ATTACK}.",))
    return Forecast(paths, times, past, metadata, 0.726)


def test_candles_show_the_last_rows_and_findings():
    shown = candles()
    page = Page(shown._repr_html_())
    text = " ".join(page.texts)
    assert "Candles of BTC" in text
    assert "2024-01-01 00:00 to 2024-01-02 15:00" in text
    assert page.tags.count("tr") == 1 + 1 + 5  # head, gap, rows
    assert "109.75" in page.texts
    assert [finding.message for finding in shown.findings if finding.message not in text] == []


def test_candles_without_rows_or_volume_show_themselves():
    assert " 0" in Page(candles().head(0)._repr_html_()).texts
    whole = candles(3)
    frame = whole.frame.drop(columns=["volume", "amount"])
    page = Page(Candles.from_frame(frame, interval="1h")._repr_html_())
    assert "volume" not in page.texts
    assert page.tags.count("tr") == 1 + 3


@pytest.mark.parametrize(("horizon", "rows"), [(1, 1), (6, 6), (24, 6)])
def test_a_forecast_shows_steps_bands_notes_and_repairs(horizon: int, rows: int):
    page = Page(forecast(horizon)._repr_html_())
    text = " ".join(page.texts)
    assert page.tags.count("tr") == 1 + rows
    assert f"{horizon} candle" in text
    assert "72.6 % of the sampled candles: volume below 0" in text
    assert "A note" in text
    assert str(horizon) in page.texts


def test_several_forecasts_show_one_row_each():
    one = forecast(2)
    page = Page(Forecasts({f"series {i}{ATTACK}": one for i in range(25)})._repr_html_())
    assert page.tags.count("tr") == 1 + 20
    assert "5 more series; to_frame() has all." in page.texts
    assert "img" not in page.tags
    Page(Forecasts()._repr_html_())


def test_a_predictor_shows_its_model():
    predictor = KronosPredictor(random_model(0), random_tokenizer(0), "cpu", max_context=48)
    page = Page(predictor._repr_html_())
    assert "KronosPredictor of kronos (unsaved)" in page.texts
    assert "context 48" in repr(predictor)
    assert "48 candles" in " ".join(page.texts)


@pytest.mark.parametrize("shown", [candles(symbol=ATTACK), forecast(3, symbol=ATTACK)], ids=["candles", "forecast"])
def test_names_from_outside_are_escaped(shown: Any):
    page = Page(shown._repr_html_())
    assert "img" not in page.tags
    assert ATTACK in " ".join(page.texts)


def test_simulated_data_are_stated_first():
    html = html_summary("Title", [("a", "b")], simulated=True)
    assert Page(html).texts[0].startswith("SIMULATED")


texts = st.text() | st.text(st.sampled_from("<>/&;\"'=ab ")) | st.just(ATTACK)


@given(texts, texts, st.lists(st.lists(texts, min_size=2, max_size=2), max_size=3), st.lists(texts))
def test_any_text_is_escaped_and_nested(title: str, fact: str, rows: list[list[str]], remarks: list[str]):
    page = Page(html_summary(title, [(fact, title)], SummaryTable(("a", title), rows, gap=0), remarks))
    assert set(page.tags) <= {"div", "span", "table", "thead", "tbody", "tr", "th", "td", "ul", "li"}


def test_columns_are_formatted_alike():
    assert format_column([67200.0, 67195.5]) == ["67,200.0", "67,195.5"]
    assert format_column([1.08345, 1.1]) == ["1.08345", "1.10000"]
    assert format_column([0.0, 1e-9 / 3]) == ["0.000000000000000", "0.000000000333333"]
    assert format_column([0.0, 0.0]) == ["0", "0"]
    assert format_column([1e300]) == [f"{1e300:,.0f}"]
    assert format_column([]) == []


def test_times_are_formatted_alike():
    times = list(pd.DatetimeIndex(["2024-01-01", "2024-01-02 09:30"]))
    assert format_times(times) == ["2024-01-01 00:00", "2024-01-02 09:30"]
    assert format_times(times[:1]) == ["2024-01-01"]
    assert format_times([*times, pd.Timestamp("2024-01-02 09:30:15")])[-1].endswith("09:30:15")


# Progress -------------------------------------------------------------------


class Handle:
    """The output of a cell that a display can be updated in."""

    def __init__(self, shown: list[str]) -> None:
        self._shown = shown

    def update(self, html: Any) -> None:
        self._shown.append(html.data)


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a cell of a notebook shows, one text per update."""
    shown: list[str] = []
    ipython, display = ModuleType("IPython"), ModuleType("IPython.display")

    def show(html: Any, *, display_id: bool) -> Handle:
        assert display_id
        shown.append(html.data)
        return Handle(shown)

    ipython.get_ipython = lambda: SimpleNamespace(kernel=object())  # type: ignore[attr-defined]
    display.HTML = lambda data: SimpleNamespace(data=data)  # type: ignore[attr-defined]
    display.display = show  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return shown


def test_a_notebook_shows_a_bar_and_removes_it(cell: list[str], capsys: pytest.CaptureFixture[str]):
    with progress_bar(f"Forecasting {ATTACK}", next_title="Scoring") as update:
        assert update is not None
        for done in range(1, 101):
            update(done, 100)
    assert "img" not in Page(cell[0]).tags
    assert 'value="100" max="100"' in cell[-2] or "Scoring" in cell[-2]
    assert len(cell) < 50  # updates are limited per second
    assert cell[-1] == ""
    assert capsys.readouterr() == ("", "")


def test_a_bar_is_removed_after_an_error_and_not_shown_if_disabled(cell: list[str]):
    with progress_bar("Forecasting", enabled=False) as update:
        assert update is None
    assert cell == []
    with pytest.raises(KeyError), progress_bar("Forecasting"):
        raise KeyError
    assert cell[-1] == ""


def test_ipython_without_a_kernel_is_no_notebook(cell: list[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda: SimpleNamespace(), raising=False)
    with progress_bar("Forecasting"):
        pass
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda: None, raising=False)
    with progress_bar("Forecasting"):
        pass
    assert cell == []
