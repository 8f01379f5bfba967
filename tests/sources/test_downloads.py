"""Downloads: complete, ordered, closed candles only, cached and resumed."""

import logging
import multiprocessing
import time
from contextlib import suppress

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kronos.errors import DataError, ParameterError, SourceError
from kronos.intervals import Interval
from kronos.provenance import frame_digest
from kronos.sources.cache import CachedSeries, CandleCache, SeriesKey
from kronos.sources.downloads import CachedSource
from sources.markets import HOUR, Market, hours, rows

KEY = SeriesKey("memory", "BTC/USDT", HOUR)
FRAME = rows(hours("2024-01-01", 1_500))
NOW = FRAME.index[1_000] + pd.Timedelta(minutes=20)  # row 1,000 is forming, row 999 is the last closed one


def downloads(folder, **changes):
    market = Market(**({"frame": FRAME, "clock": NOW} | changes))
    return CachedSource(market, CandleCache(folder)), market


def test_latest_closed_candles_are_complete_and_ordered(tmp_path):
    source, market = downloads(tmp_path)
    candles = source.candles("BTC-USDT", HOUR, records=500)
    pd.testing.assert_frame_equal(candles.frame, FRAME.iloc[500:1_000], check_freq=False, check_index_type=False)
    assert (candles.symbol, candles.source, candles.simulated) == ("BTC-USDT", "memory BTC/USDT", False)
    assert market.pages == 5


def test_candles_count_two_seconds_after_their_close(tmp_path):
    closes = FRAME.index[1_001]
    for i, (after, last) in enumerate([(1, 999), (2, 1_000), (3_599, 1_000)]):
        source, _ = downloads(tmp_path / str(i), clock=closes + pd.Timedelta(seconds=after))
        assert source.candles("BTC/USDT", HOUR, records=10).end == FRAME.index[last]


def test_cached_candles_are_not_downloaded_again(tmp_path):
    downloads(tmp_path)[0].candles("BTC/USDT", HOUR, records=500)
    again, market = downloads(tmp_path)
    again.candles("BTC/USDT", HOUR, records=400)
    assert market.pages == 0
    later, market = downloads(tmp_path, clock=NOW + pd.Timedelta(hours=3))
    assert later.candles("BTC/USDT", HOUR, records=500).end == FRAME.index[1_002]
    assert market.pages == 1


def test_interrupted_download_resumes(tmp_path):
    broken, _ = downloads(tmp_path, breaks_after=7)
    with pytest.raises(SourceError, match="could not be reached"):
        broken.candles("BTC/USDT", HOUR, records=1_000)
    source, market = downloads(tmp_path)
    candles = source.candles("BTC/USDT", HOUR, records=1_000)
    assert market.pages == 3
    assert frame_digest(candles.frame) == frame_digest(FRAME.iloc[:1_000])


@pytest.mark.slow
@given(
    size=st.integers(3, 400),
    disorder=st.none() | st.integers(0, 99),
    holes=st.sets(st.integers(600, 999), max_size=30),
    requests=st.lists(st.integers(2, 350), min_size=1, max_size=3),
    breaks_after=st.none() | st.integers(0, 5),
)
@settings(max_examples=60)
def test_rows_do_not_depend_on_paging_order_or_interruptions(
    tmp_path_factory, size, disorder, holes, requests, breaks_after
):
    folder = tmp_path_factory.mktemp("store")
    frame = FRAME.drop(FRAME.index[sorted(holes)])
    broken, _ = downloads(folder, frame=frame, size=size, breaks_after=breaks_after)
    try:
        broken.candles("BTC/USDT", HOUR, records=250)
    except SourceError:
        assert breaks_after is not None
    closed = frame[frame.index <= FRAME.index[999]]
    for records in requests:
        source, _ = downloads(folder, frame=frame, size=size, disorder=disorder)
        candles = source.candles("BTC/USDT", HOUR, records=records)
        np.testing.assert_array_equal(candles.frame.to_numpy(), closed.iloc[-records:].to_numpy())
        assert (candles.index == closed.index[-records:]).all()


def test_market_gap_is_requested_once(tmp_path):
    frame = FRAME.drop(FRAME.index[600:650])
    first, market = downloads(tmp_path, frame=frame)
    candles = first.candles("BTC/USDT", HOUR, records=500)
    assert len(candles) == 500
    assert candles.start == FRAME.index[450]
    assert "gaps" in {finding.code for finding in candles.findings}
    again, market = downloads(tmp_path, frame=frame)
    again.candles("BTC/USDT", HOUR, records=500)
    assert market.pages == 0


def test_empty_span_at_the_end_is_requested_again(tmp_path):
    late, _ = downloads(tmp_path, frame=FRAME.iloc[:998])
    assert late.candles("BTC/USDT", HOUR, records=100).end == FRAME.index[997]
    source, _ = downloads(tmp_path)
    assert source.candles("BTC/USDT", HOUR, records=100).end == FRAME.index[999]


def test_short_history_is_reported_and_its_start_remembered(tmp_path):
    source, _ = downloads(tmp_path)
    candles = source.candles("BTC/USDT", HOUR, records=5_000)
    assert len(candles) == 1_000
    [finding] = [finding for finding in candles.findings if finding.code == "short-history"]
    assert finding.severity == "warning"
    assert "history of BTC/USDT begins 2024-01-01" in finding.message
    assert {"1,000", "5,000"} <= set(finding.message.split())
    again, market = downloads(tmp_path)
    assert len(again.candles("BTC/USDT", HOUR, records=5_000)) == 1_000
    assert market.pages == 0


class Windows(Market):
    """The same, but a page covers a window only, as OKX's do."""

    def page(self, symbol, interval, start, end):
        return super().page(symbol, interval, start, min(end, start + self.size * interval.delta))


def test_empty_span_after_the_last_candle_is_not_covered(tmp_path):
    late = Windows(FRAME.iloc[:700], NOW, size=10)
    CachedSource(late, CandleCache(tmp_path)).candles("BTC/USDT", HOUR, end=FRAME.index[900], records=300)
    ahead = Windows(FRAME.iloc[:850], FRAME.index[999], size=10)
    CachedSource(ahead, CandleCache(tmp_path)).candles("BTC/USDT", HOUR, records=200)
    source = CachedSource(Windows(FRAME, NOW, size=10), CandleCache(tmp_path))
    candles = source.candles("BTC/USDT", HOUR, records=600)
    assert frame_digest(candles.frame) == frame_digest(FRAME.iloc[400:1_000])


def test_covered_span_without_candles_in_an_older_cache_is_ignored(tmp_path):
    start, stop = (int(FRAME.index[at].timestamp()) * 1_000_000 for at in (0, 950))
    start -= 2 * 3_600_000_000
    CandleCache(tmp_path).write(KEY, CachedSeries(FRAME.iloc[:700], ((start, stop),)))
    source, market = downloads(tmp_path)
    assert len(source.candles("BTC/USDT", HOUR, records=1_000)) == 1_000
    assert market.pages == 3


def test_ended_market_is_found_with_an_end(tmp_path):
    ended = {"frame": FRAME, "clock": FRAME.index[-1] + pd.Timedelta(days=900)}
    source, _ = downloads(tmp_path, **ended)
    with pytest.raises(DataError, match="no closed candles"):
        source.candles("BTC/USDT", HOUR, records=100)
    assert source.store.series() == []
    candles = downloads(tmp_path, **ended)[0].candles("BTC/USDT", HOUR, end=FRAME.index[600], records=100)
    assert frame_digest(candles.frame) == frame_digest(FRAME.iloc[500:600])


def test_candles_before_a_very_long_halt_are_found_with_a_start(tmp_path):
    index = hours("2023-01-01", 8_000)
    frame = rows(index.delete(np.arange(1_000, 6_000)))
    source, _ = downloads(tmp_path, frame=frame, clock=index[-1])
    [finding, *_] = source.candles("BTC/USDT", HOUR, records=3_000).findings
    assert "history of BTC/USDT begins 2023-09-08" in finding.message
    assert source.candles("BTC/USDT", HOUR, start=index[0]).start == index[0]
    assert len(source.candles("BTC/USDT", HOUR, records=2_500)) == 2_500  # despite the remembered start


def test_missing_candle_costs_one_more_page(tmp_path):
    source, market = downloads(tmp_path, frame=FRAME.drop(FRAME.index[900]))
    assert len(source.candles("BTC/USDT", HOUR, records=500)) == 500
    assert market.pages == 6
    assert len(source.store.read(KEY).frame) < 520


def test_start_before_the_history_is_reported(tmp_path):
    source, _ = downloads(tmp_path)
    candles = source.candles("BTC/USDT", HOUR, start=pd.Timestamp("1995-06-01"))
    assert len(candles) == 1_000
    assert candles.findings[0].code == "short-history"
    assert "1h candles of BTC/USDT from 1995-06-01 00:00 until 2024-01-01 00:00" in candles.findings[0].message


def test_short_range_is_not_reported_as_start_of_the_history(tmp_path):
    source, _ = downloads(tmp_path)
    source.candles("BTC/USDT", HOUR, records=5_000)
    candles = source.candles("BTC/USDT", HOUR, start=FRAME.index[500], end=FRAME.index[550], records=100)
    assert (candles.findings[0].code, candles.findings[0].count) == ("short-history", 50)
    assert "history" not in candles.findings[0].message


@pytest.mark.parametrize(("interval", "freq"), [("1w", "W-MON"), ("1mo", "MS"), ("3mo", "QS")])
def test_more_records_than_timestamps_can_represent(tmp_path, interval, freq):
    frame = rows(pd.date_range("2011-01-01", periods=40, freq=freq, tz="UTC"))
    clock = frame.index[-1] + Interval.parse(interval).offset - pd.Timedelta(seconds=1)
    source, _ = downloads(tmp_path, frame=frame, clock=clock, interval=Interval.parse(interval))
    assert len(source.candles("BTC/USDT", Interval.parse(interval), records=20_000)) == 39


def test_interval_may_be_in_other_units(tmp_path):
    assert len(downloads(tmp_path)[0].candles("BTC/USDT", Interval(60, "m"), records=10)) == 10


def test_all_candles_without_a_range(tmp_path):
    source, _ = downloads(tmp_path)
    assert len(source.candles("BTC/USDT", HOUR)) == 1_000


@pytest.mark.parametrize(
    ("start", "end", "records", "first", "last"),
    [
        (100, 200, None, 100, 199),
        (None, 200, 50, 150, 199),
        (180, 200, 50, 180, 199),
        (990, None, None, 990, 999),
        (990, 1_400, None, 990, 999),
    ],
)
def test_ranges(tmp_path, start, end, records, first, last):
    source, _ = downloads(tmp_path)
    times = [None if at is None else FRAME.index[at] for at in (start, end)]
    candles = source.candles("BTC/USDT", HOUR, start=times[0], end=times[1], records=records)
    assert (candles.start, candles.end) == (FRAME.index[first], FRAME.index[last])


def test_forming_and_future_candles_have_no_influence(tmp_path):
    digests = set()
    for name, factor in (("a", 1.0), ("b", 7.0)):
        frame = FRAME.copy()
        frame.iloc[1_000:] *= factor
        digests.add(frame_digest(downloads(tmp_path / name, frame=frame)[0].candles("BTC/USDT", HOUR).frame))
    assert len(digests) == 1


def test_invalid_requests_are_rejected(tmp_path):
    source, _ = downloads(tmp_path)
    with pytest.raises(ParameterError, match="did you mean BTC/USDT"):
        source.candles("XYZ", HOUR, records=10)
    with pytest.raises(ParameterError, match=r"no 5m candles of BTC/USDT; .* 1h"):
        source.candles("BTC/USDT", Interval(5, "m"), records=10)
    with pytest.raises(ParameterError, match="at least 2"):
        source.candles("BTC/USDT", HOUR, records=1)
    with pytest.raises(ParameterError, match=r"Invalid end .* after the start"):
        source.candles("BTC/USDT", HOUR, start=NOW, end=NOW)
    with pytest.raises(DataError, match="no closed candles"):
        source.candles("BTC/USDT", HOUR, end=FRAME.index[0], records=10)
    for start in ("0001-01-01", "1600-01-01", "9999-01-01", pd.NaT):
        with pytest.raises(ParameterError, match=r"Invalid start .* from 1800 to 2199"):
            source.candles("BTC/USDT", HOUR, start=pd.Timestamp(start))


def test_damaged_file_is_set_aside_and_downloaded_again(tmp_path):
    source, _ = downloads(tmp_path)
    source.candles("BTC/USDT", HOUR, records=500)
    path = source.store.path(KEY)
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(DataError, match="damaged"):
        source.store.read(KEY)
    candles = source.candles("BTC/USDT", HOUR, records=500)
    assert candles.findings[0].code == "damaged-store"
    assert frame_digest(candles.frame) == frame_digest(FRAME.iloc[500:1_000])
    assert path.with_suffix(".damaged").is_file()


@pytest.mark.slow
@given(st.data())
@settings(max_examples=200)
def test_any_damage_is_detected_or_harmless(tmp_path_factory, data):
    store = CandleCache(tmp_path_factory.mktemp("store"))
    path = store.write(KEY, CachedSeries(FRAME.iloc[:20], ((1, 2),), 3))
    whole = bytearray(path.read_bytes())
    for at in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=3)):
        whole[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(whole[: data.draw(st.just(len(whole)) | st.integers(0, len(whole)))])
    with suppress(DataError):
        stored = store.read(KEY)
        assert frame_digest(stored.frame) == frame_digest(FRAME.iloc[:20])
        assert (stored.covered, stored.begins) == (((1, 2),), 3)


def test_leftovers_of_a_killed_process_are_ignored_and_removed(tmp_path):
    source, _ = downloads(tmp_path)
    source.candles("BTC/USDT", HOUR, records=50)
    path = source.store.path(KEY)
    leftover = path.with_name(f".12ab34cd.tmp-{path.name}")
    leftover.write_bytes(path.read_bytes())
    assert source.store.series() == [KEY]
    source.candles("BTC/USDT", HOUR, records=60)
    assert not leftover.exists()


def _download(folder, records, queue):
    source, market = downloads(folder, size=10)
    queue.put((frame_digest(source.candles("BTC/USDT", HOUR, records=records).frame), market.pages))


@pytest.mark.slow
def test_processes_take_turns(tmp_path):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    workers = [context.Process(target=_download, args=(tmp_path, 800, queue)) for _ in range(3)]
    for worker in workers:
        worker.start()
    results = [queue.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert {digest for digest, _ in results} == {frame_digest(FRAME.iloc[200:1_000])}
    assert sorted(pages for _, pages in results) == [0, 0, 80]


def test_waiting_for_another_process_is_logged(tmp_path, caplog):
    import threading

    store = CandleCache(tmp_path)
    caplog.set_level(logging.INFO, "kronos.sources")
    held = threading.Event()

    def hold():
        with CandleCache(tmp_path).lock(KEY):
            held.set()
            while "waiting for it" not in caplog.text:
                time.sleep(0.01)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    with store.lock(KEY):
        assert "Another process is downloading memory BTC/USDT 1h" in caplog.text
    thread.join()


def test_cache_files_are_plain_parquet(tmp_path):
    source, _ = downloads(tmp_path)
    candles = source.candles("BTC/USDT", HOUR, records=50)
    frame = pd.read_parquet(source.store.path(KEY)).set_index("timestamps")
    pd.testing.assert_frame_equal(frame.iloc[-50:], candles.frame, check_freq=False, check_index_type=False)
    assert source.store.series() == [KEY]


@pytest.mark.parametrize(
    "symbol", ["BTC/USDT:USDT", "../../etc", "..", ".hidden", "a b", "con", "日经", "%2F", "x" * 40]
)
def test_names_stay_inside_the_cache_and_distinct(tmp_path, symbol):
    store = CandleCache(tmp_path)
    key = SeriesKey("memory", symbol, HOUR)
    path = store.write(key, CachedSeries(FRAME.iloc[:3]))
    assert path.resolve().is_relative_to(tmp_path.resolve())
    assert len(path.relative_to(tmp_path).parts) == 3
    assert store.series() == [key]
    assert len(store.read(key).frame) == 3


def test_names_are_distinct_without_case_and_valid_on_windows(tmp_path):
    names = ["KPEPE/USDC", "kPEPE/USDC", "Kpepe/USDC", "CON", "nul", "COM1", "PRN.L", "BRK.", "BRK", "BRK ", "bitcoin"]
    folders = [CandleCache(tmp_path).path(SeriesKey("memory", name, HOUR)).parent.name for name in names]
    assert len({folder.lower() for folder in folders}) == len(names)
    stems = {folder.partition(".")[0].lower() for folder in folders}
    assert not stems & {"con", "nul", "com1", "prn"}
    assert not [folder for folder in folders if folder.endswith((".", " "))]
    assert {"bitcoin", "BRK"} <= set(folders)


def test_file_under_another_name_is_rejected(tmp_path):
    store = CandleCache(tmp_path)
    other = SeriesKey("memory", "ETH/USDT", HOUR)
    store.write(KEY, CachedSeries(FRAME.iloc[:3])).rename(tmp_path / "moved")
    store.path(other).parent.mkdir(parents=True)
    (tmp_path / "moved").rename(store.path(other))
    with pytest.raises(DataError, match="memory BTC/USDT 1h, not memory ETH/USDT 1h"):
        store.read(other)
