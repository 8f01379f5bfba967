"""The states of the workbench: empty, loading, findings, questions, progress, stale, simulated, server away, key."""

from __future__ import annotations

import re
import signal

import pandas as pd
import pytest

from kronos.candles import read_candles
from serve.processes import start_process
from serve.recordings import recorded, replay, serve_replay
from serve.servers import run_server, settings_in
from web.workbench import BUNDLED, NO_LIMITS, SAMPLE, number, small_request

# A replay of many windows and paths: a minute of work and more, so that it runs for as long as a test looks at it.
LONG = {"file": SAMPLE, "mode": "replay", "lookback": 300, "horizon": 190, "samples": 200, "windows": 8}
UNDER_WAY = '.run .progress span:not(:text-is("0%"))'
# The banner that a server is back stays for seconds; a slow test must not miss it.
WATCH_RETURN = """() => {
  window.returned = new Promise((done) =>
    new MutationObserver(() => document.querySelector('[data-server="back"]') && done(true))
      .observe(document.body, { childList: true, subtree: true }));
}"""
# The banner as long as a test looks at it, instead of five seconds.
KEEP_BANNER = """
const start = setTimeout;
window.setTimeout = (work, wait, ...values) => start(work, wait === 5000 ? 120_000 : wait, ...values);
"""
KEY = "a-long-key-for-the-tests-of-the-workbench"


@pytest.fixture(scope="module")
def saved(server):
    """Identifiers of a forecast and of a scored replay of the simulated sample."""
    with server.client() as client:
        made = [client.post("/api/predict", json=small_request(**changes)).json() for changes in ({}, {"seed": 8})]
        end = made[0]["view"]["history"]["time"][-20]
        body = small_request(as_of=pd.Timestamp(end, unit="s", tz="UTC").isoformat(), windows=3)
        made.append(client.post("/api/predict", json=body).json())
    return [document["id"] for document in made]


# Empty, loading, forecast, replay, comparison -------------------------------


@pytest.mark.slow
def test_an_empty_page_says_what_to_do(tab):
    tab.open("empty")
    assert "What may come next, and how far to trust it" in tab.text("#main")
    assert tab.page.get_by_role("button", name="Try the sample").is_visible()
    assert not tab.page.locator("[data-run], [data-simulated], [data-server], [data-stale]").count()
    tab.check_accessibility()


@pytest.mark.slow
def test_while_candles_load_a_skeleton_stands_for_the_chart(tab):
    held = []
    tab.page.route("**/api/candles", lambda route: held.append(route))
    tab.open(file=SAMPLE)
    tab.page.wait_for_selector("[data-skeleton]")
    assert tab.page.locator("html").get_attribute("data-state") == "loading"
    assert "Reading" in tab.text('[data-step="data"] [role="status"]')
    tab.check_accessibility()
    for route in held:
        route.continue_()
    tab.wait("data")
    tab.page.unroute("**/api/candles")
    assert not tab.page.locator("[data-skeleton]").count()


@pytest.mark.slow
def test_simulated_candles_are_marked_everywhere(tab, saved):
    tab.open("empty")
    tab.page.get_by_role("button", name="Try the sample").click()
    tab.wait("data")
    assert tab.text("header [data-simulated]") == "SIMULATED"
    assert "SIMULATED" in tab.text("[data-legend]")
    tab.check_accessibility()
    tab.open("forecast", result=saved[0])
    assert tab.text("header [data-simulated]") == "SIMULATED"
    assert "SIMULATED" in tab.text("[data-legend]")


@pytest.mark.slow
def test_a_forecast_reports_no_fault_of_accessibility(tab, saved):
    tab.open("forecast", result=saved[0])
    tab.wait_drawn()
    tab.page.get_by_role("button", name="Table", exact=True).click()
    tab.page.locator("details.sampling summary").click()
    tab.check_accessibility()


@pytest.mark.slow
def test_a_scored_replay_reports_no_fault_of_accessibility(tab, saved):
    tab.open("replay", result=saved[2])
    tab.page.wait_for_selector("[data-verdict]")
    tab.check_accessibility()


@pytest.mark.slow
def test_a_comparison_reports_no_fault_of_accessibility(tab, saved):
    tab.open("forecast", result=",".join(saved))
    tab.page.wait_for_selector("[data-compare]")
    tab.page.get_by_role("button", name="Export").click()
    tab.check_accessibility()


@pytest.mark.slow
def test_help_and_settings_report_no_fault_of_accessibility(tab):
    tab.open("empty")
    tab.page.get_by_role("button", name="Settings").click()
    tab.page.wait_for_selector("[data-settings]")
    tab.check_accessibility()
    tab.page.keyboard.press("Escape")
    tab.page.get_by_role("button", name="Help").click()
    tab.page.wait_for_selector("dialog[open]")
    tab.check_accessibility()
    tab.page.keyboard.press("Escape")
    tab.page.wait_for_selector("dialog[open]", state="detached")


def test_a_result_that_is_gone_is_named(tab):
    tab.expect("status of 404")
    tab.open("error", result="prediction_20200101_000000")
    assert tab.page.locator('[data-saved] [data-status="404"]').is_visible()


# Findings and questions -----------------------------------------------------

FINDINGS = {
    "headerless_compact_clock_1h.csv": (["no-header"], {"Candles": "574", "Interval": "1h"}),
    "semicolon_us_thousands.csv": (["number-notation"], {"Candles": "120"}),
    "two_digit_years_1970.csv": (["two-digit-years"], {"Dates": "1970-"}),
    "daily_local_midnight_offsets.csv": (["local-midnights"], {"Interval": "1d"}),
    "live_row_off_grid.csv": (["forming-candle"], {"Candles": "100"}),
    "units_in_brackets_cn.csv": (["column-unit"], {"Interval": "1d"}),
    "turnover_is_a_rate.csv": (["not-an-amount"], {"Candles": "120"}),
    "intraday_offsets_dst.csv": (["several-offsets", "gaps"], {"Time zone": "UTC"}),
    "idle_minutes_nan.csv": (["idle-row"], {"Interval": "1m"}),
    "tdx_daily.txt": (["title-line", "footer"], {"Candles": "120"}),
    "zone_abbreviation.csv": (["zone-names"], {"Time zone": "America/New_York"}),
    "us_130m.csv": ([], {"Interval": "130m"}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FINDINGS)
def test_a_file_gives_its_findings(tab, shared, name):
    codes, facts = FINDINGS[name]
    tab.open("empty")
    tab.upload(name, (shared / "cases" / "files" / name).read_bytes())
    found = tab.facts()
    assert {fact: found[fact].startswith(value) for fact, value in facts.items()} == dict.fromkeys(facts, True), found
    assert set(codes) <= set(tab.findings())


@pytest.mark.slow
def test_findings_name_rows_and_report_no_fault_of_accessibility(tab, shared):
    tab.open("empty")
    tab.upload("idle.csv", (shared / "cases" / "files" / "idle_minutes_nan.csv").read_bytes())
    assert re.search(r"\(rows [\d, ]+", tab.page.locator('[data-finding="idle-row"]').text_content())
    tab.check_accessibility()


@pytest.mark.slow
def test_an_ambiguous_decimal_comma_is_asked_about_and_settled(tab, shared):
    name = "decimal_comma_three_digits_tab.txt"
    tab.expect("status of 400")
    tab.open("empty")
    tab.upload(name, (shared / "cases" / "files" / name).read_bytes(), state="error")
    assert "148,036 may be 148036 or 148.036" in tab.text('[data-step="data"] [role="alert"]')
    assert sorted(tab.highlighted()) == ["Decimal sign", "Thousands sign"]
    assert tab.page.evaluate("document.activeElement.closest('.highlighted') !== null"), "ready to be answered"
    tab.check_accessibility()
    tab.page.get_by_label("Decimal sign").select_option(",")
    tab.page.get_by_role("button", name="Read again").click()
    tab.wait("data")
    assert 100 < number(tab.rows("table[data-history]")[-1][4]) < 200
    assert not tab.highlighted()
    assert "decimal=," in tab.page.url, "the answer is part of the address"


@pytest.mark.slow
def test_columns_are_mapped_by_their_first_rows(tab):
    tab.expect("status of 400")
    frame = recorded("BTC", 60).frame.rename(columns={"close": "Kurs abends", "open": "Kurs morgens"})
    tab.open("empty")
    tab.upload("kurse.csv", frame.to_csv().encode(), state="error")
    assert tab.highlighted() == ["Columns"]
    head, *rows = tab.rows("[data-preview]")
    assert head[2:4] == ["Row 2", "Row 3"]
    assert [row[0] for row in rows] == ["timestamps", "Kurs morgens", "high", "low", "Kurs abends", "volume", "amount"]
    assert rows[1][2] == str(frame.iloc[0, 0])
    tab.check_accessibility()
    for column, role in (("Kurs morgens", "open"), ("Kurs abends", "close")):
        tab.page.get_by_label(f"Meaning of {column}").select_option(role)
    tab.page.get_by_role("button", name="Read again").click()
    tab.wait("data")
    assert tab.facts()["Candles"] == "60"
    assert "column=close%3DKurs+abends" in tab.page.url or "column=close=Kurs" in tab.page.url


@pytest.mark.slow
def test_columns_that_are_mapped_stay_while_others_are_missing(tab):
    tab.expect("status of 400")
    frame = recorded("BTC", 60).frame.rename(columns={"close": "Kurs abends", "open": "Kurs morgens"})
    tab.open("empty")
    tab.upload("kurse.csv", frame.to_csv().encode(), state="error")
    failed = tab.page.locator('[data-step="data"] [role="alert"]')
    assert "choose them under “Columns”" in failed.inner_text()
    assert "columns=" not in failed.inner_text()
    for column, role, state in (("Kurs morgens", "open", "error"), ("Kurs abends", "close", "data")):
        tab.page.get_by_label(f"Meaning of {column}").select_option(role)
        with tab.page.expect_response(lambda response: "api/uploads" in response.url):
            tab.page.get_by_role("button", name="Read again").click()
        tab.wait(state)
    assert tab.facts()["Candles"] == "60"


def test_the_columns_of_a_file_that_was_read_can_be_looked_at(tab):
    tab.open("data", file=SAMPLE)
    tab.page.locator("details.reading summary").click()
    tab.page.wait_for_selector("[data-preview]")
    chosen = tab.page.get_by_label("Meaning of close").evaluate("select => select.selectedOptions[0].textContent")
    assert chosen == "Close (detected)"


@pytest.mark.slow
def test_lines_that_no_option_divides_are_shown_as_they_are(tab):
    tab.expect("status of 400")
    tab.open("empty")
    tab.upload("notes.csv", b"some notes\nabout nothing\nat all\n", state="error")
    tab.page.locator("details.reading").evaluate("details => { details.open = true; }")
    assert [row[-1] for row in tab.rows("[data-preview]")] == ["some notes", "about nothing", "at all"]


@pytest.mark.slow
def test_candles_are_downloaded_as_they_were_read(tab, tmp_path):
    frame = recorded("BTC", 60).frame
    frame.iloc[5, 1], frame.iloc[5, 2] = frame.iloc[5, 2], frame.iloc[5, 1]
    tab.open("empty")
    tab.upload("swapped.csv", frame.to_csv().encode())
    for kind in ("csv", "parquet"):
        with tab.page.expect_download() as waiting:
            tab.page.locator(f'[data-cleaned] [data-format="{kind}"]').click()
        name = waiting.value.suggested_filename
        assert name == f"swapped_1h_2025-03-03_1100.{kind}"
        waiting.value.save_as(tmp_path / name)
        assert not read_candles(tmp_path / name).findings, "nothing is left to repair"


@pytest.mark.slow
def test_findings_and_questions_are_in_chinese(tab):
    tab.expect("status of 400")
    frame = recorded("BTC", 60).frame
    frame.iloc[5, 1], frame.iloc[5, 2] = frame.iloc[5, 2], frame.iloc[5, 1]
    tab.open("empty", lang="zh")
    tab.upload("a.csv", frame.drop(frame.index[20:23]).to_csv().encode())
    finding = tab.page.locator('[data-finding="high-below-low"] p')
    tab.page.wait_for_selector("text=最高价低于最低价，已互换")
    assert finding.get_attribute("lang") == "zh-CN"
    assert "时间上有 1 处缺口" in tab.text('[data-finding="gaps"]')
    tab.drop("b.csv", frame.rename(columns={"close": "x"}).to_csv().encode(), state="error")
    tab.page.wait_for_selector("text=b.csv 缺少以下列：收盘价")
    tab.choose_language("en")
    assert "b.csv has no column for close" in tab.text('[data-step="data"] [role="alert"]')


@pytest.mark.slow
def test_parts_of_the_address_that_cannot_be_used_are_named(tab):
    tab.open("empty", result="../x", horizon="0")
    banner = tab.page.wait_for_selector("[data-ignored]")
    assert "ignored: result=../x · horizon=0. Check the link" in banner.inner_text()
    tab.check_accessibility()
    tab.page.get_by_role("button", name="Dismiss").click()
    assert not tab.page.locator("[data-ignored]").count()


@pytest.mark.slow
def test_columns_that_contradict_each_other_are_asked_about(tab, shared):
    tab.expect("status of 400")
    tab.open("empty")
    content = (shared / "cases" / "files" / "adjusted_close_raw_ohl.csv").read_bytes()
    tab.upload("adjusted.csv", content, state="error")
    assert "200 of 200 rows" in tab.text('[data-step="data"] [role="alert"]')
    assert tab.highlighted() == ["Columns"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("negative_forward_adjusted.csv", "forward"),
        ("epoch_scientific.csv", "last digits are lost"),
        ("utf16le_without_bom.csv", "save the candles as UTF-8 CSV"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tab, shared, name, cause):
    tab.expect("status of 400")
    tab.open("empty")
    tab.upload(name, (shared / "cases" / "files" / name).read_bytes(), state="error")
    assert cause in tab.text('[data-step="data"] [role="alert"]')
    assert not tab.highlighted()


def test_a_file_of_another_kind_is_refused_by_name(tab):
    tab.expect("status of 4")
    tab.open("empty")
    tab.upload("notes.docx", b"no candles", state="error")
    assert "notes.docx" in tab.text('[data-step="data"] [role="alert"]')


# Progress -------------------------------------------------------------------


@pytest.mark.slow
def test_a_forecast_shows_its_progress_can_be_cancelled_and_leaves_the_previous_result(tab, saved):
    tab.open("replay", result=saved[2], **LONG)
    before = tab.rows("table[data-forecast]")
    tab.page.locator("[data-run]").click()
    tab.page.wait_for_selector(UNDER_WAY)
    assert "The previous result stays" in tab.text(".run")
    assert tab.rows("table[data-forecast]") == before
    assert "band-80-shade" in tab.probes()
    tab.check_accessibility()
    tab.page.get_by_role("button", name="Cancel").click()
    tab.wait("replay")
    assert "Cancelled." in tab.text(".run")
    assert tab.result_id() == saved[2]
    assert tab.rows("table[data-forecast]") == before
    assert tab.page.locator("[data-run]").is_enabled()


@pytest.mark.slow
def test_a_replay_hides_the_future_until_it_is_done(tab):
    tab.open("data", **{**LONG, "horizon": 100})
    newest = tab.rows("table[data-history]")[-1][0]
    end = tab.page.locator("[data-window-end]").get_attribute("aria-valuetext")
    tab.page.locator("[data-run]").click()
    tab.page.wait_for_selector(f'table[data-history] tr:last-child th:text-is("{end}")', state="attached")
    tab.page.get_by_role("button", name="Cancel").click()
    tab.page.wait_for_selector(f'table[data-history] tr:last-child th:text-is("{newest}")', state="attached")


def test_a_model_that_cannot_be_loaded_leaves_the_one_in_use(tab):
    tab.expect("status of 4", "status of 5")
    tab.open("empty")
    tab.page.locator('[data-step="model"] details summary').click()
    other = tab.page.locator('[data-model]:not([aria-current="true"])').first
    other.get_by_role("button").click()
    tab.page.wait_for_selector('[data-step="model"] [role="alert"]')
    assert BUNDLED.lower() in tab.text('[data-model][aria-current="true"]').lower()


# Stale ----------------------------------------------------------------------


@pytest.mark.slow
def test_candles_of_an_exchange_age_before_the_eyes(new_tab, tmp_path):
    candles = recorded("BTC", 300)
    close = candles.frame.index[-1] + pd.Timedelta("1h")
    with serve_replay(tmp_path, replay(candles), **NO_LIMITS) as exchange:
        exchange.wait_ready()
        tab = new_tab(exchange.address)
        clock = tab.page.clock
        clock.set_fixed_time((close + pd.Timedelta("20min")).to_pydatetime())
        tab.open_data("asset:BTC")
        assert "The next candle closes in 40:00" in tab.text("[data-countdown]")
        assert not tab.page.locator("[data-stale], [data-simulated]").count()
        clock.set_fixed_time((close + pd.Timedelta("100min")).to_pydatetime())
        assert "40:00" in tab.page.wait_for_selector('[data-stale="late"]').inner_text()
        tab.check_accessibility()
        clock.set_fixed_time((close + pd.Timedelta("10h")).to_pydatetime())
        assert "Do not read this as the present" in tab.page.wait_for_selector('[data-stale="stale"]').inner_text()
        assert "stale" in tab.page.locator(".chart-card").get_attribute("class")
        tab.check_accessibility()
        tab.close()


# Server away, key -----------------------------------------------------------


@pytest.mark.slow
def test_a_killed_server_is_announced_the_chart_kept_and_work_goes_on_when_it_is_back(new_tab, tmp_path):
    arguments = ("--source", "simulated", "--state", "state", "--data", "data")
    (tmp_path / "data").mkdir()
    with start_process(tmp_path, *arguments, "--port", "0", defaults=False) as first:
        first.wait_ready()
        tab = new_tab(first.address)
        tab.expect(
            "ERR_CONNECTION_REFUSED",
            "ERR_EMPTY_RESPONSE",
            "ERR_INCOMPLETE_CHUNKED_ENCODING",
            "status of 404",
            "ERR_CONNECTION_RESET",
        )
        tab.open_data(SAMPLE)
        tab.run()
        saved, table = tab.result_id(), tab.rows("table[data-forecast]")

        tab.open("forecast", result=saved, **{**LONG, "windows": 2})
        for language in ("zh", "en"):  # the texts come from the server
            tab.choose_language(language)
        tab.page.locator("[data-run]").click()
        tab.page.wait_for_selector(UNDER_WAY)
        first.stop(signal.SIGKILL)
    tab.page.wait_for_selector('[role="alert"][data-server="gone"]')
    assert tab.rows("table[data-forecast]") == table
    assert "band-80-shade" in tab.probes()
    tab.check_accessibility()
    tab.page.evaluate(WATCH_RETURN)
    port = first.address.rpartition(":")[2]
    with start_process(tmp_path, *arguments, "--port", port, defaults=False) as second:
        assert second.address == first.address
        assert tab.page.evaluate("window.returned")
        assert not tab.page.locator('[data-server="gone"]').count()
        tab.page.wait_for_selector(".run >> text=no longer knows this forecast")
        assert tab.page.locator(f'[data-saved-id="{saved}"]').is_visible()
        second.wait_ready()
        tab.open_data(SAMPLE)
        tab.run()
        assert tab.rows("table[data-forecast]") == table, "the same seed"
        tab.close()


@pytest.mark.slow
def test_the_banner_of_a_returned_server_reports_no_fault_of_accessibility(new_tab, server):
    tab = new_tab(server.address)
    tab.expect("ERR_FAILED")
    tab.page.add_init_script(KEEP_BANNER)
    tab.open("empty")
    tab.page.route("**/health", lambda route: route.abort())
    tab.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    tab.page.wait_for_selector('[data-server="gone"]')
    tab.page.unroute("**/health")
    tab.page.get_by_role("button", name="Try now").click()
    tab.page.wait_for_selector('[data-server="back"]')
    tab.check_accessibility()
    assert tab.page.locator('[data-server="back"]').is_visible()


@pytest.mark.slow
def test_a_server_with_keys_asks_for_one(new_tab, tmp_path):
    with run_server(settings_in(tmp_path, api_keys=KEY, **NO_LIMITS)) as server:
        with server.client(headers={"X-API-Key": KEY}) as client:
            assert client.get("/api/data-files").status_code == 200
        tab = new_tab(server.address)
        tab.expect("status of 401")
        tab.open()
        form = tab.page.locator("[data-key-form]")
        form.wait_for()
        tab.check_accessibility()
        form.get_by_label("API key").fill("not-the-key")
        form.get_by_role("button").click()
        tab.page.wait_for_selector("text=The server did not accept this key")
        form.get_by_label("API key").fill(KEY)
        form.get_by_role("button").click()
        form.wait_for(state="detached")
        tab.open_data(SAMPLE)
        assert not form.count(), "kept until the tab closes"
        tab.run()
        assert len(tab.quantiles()) == 6
        tab.close()
