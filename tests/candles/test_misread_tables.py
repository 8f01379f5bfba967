"""Files of kinds that were misread, or refused with a misleading reason, give the right candles or the right reason."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tests.candles.test_doubtful_tables import DAYS, HEADER, TRUTH, check, lines, walk, write

from kronos.candles import Candles, ReadOptions, read_candles
from kronos.candles.io import load_candles
from kronos.errors import DataError

NOW = pd.Timestamp("2026-11-28")
HOURS = walk(pd.date_range("2026-10-01", periods=100, freq="h"), 61_000, 1)
CELLS = [line.partition(",")[2] for line in lines()]


def european(value: float, digits: int = 0) -> str:
    return f"{value:,.{digits}f}".replace(",", " ").replace(".", ",").replace(" ", ".")


def findings(candles: Candles, code: str) -> list[str]:
    return [f"{finding.severity}: {finding.message}" for finding in candles.findings if finding.code == code]


class TestPointsThatMayBeEither:
    PRICES = walk(DAYS, 3200, 0)

    def table(self, folder: Path, delimiter: str, volume: Callable[[float], str] | None, header: str = HEADER) -> Path:
        header = header if volume else header.rpartition(",")[0]
        rows = [
            delimiter.join(
                [f"{time:%Y-%m-%d}", *map(european, row.iloc[:4]), *([volume(row.volume)] if volume else [])]
            )
            for time, row in self.PRICES.iterrows()
        ]
        return write(folder, header.replace(",", delimiter), rows)

    @pytest.mark.parametrize("delimiter", [";", "\t", "|"])
    @pytest.mark.parametrize("volume", [None, lambda v: f"{v % 900:.0f}", european])
    def test_whole_prices_are_not_silently_divided(
        self, tmp_path: Path, delimiter: str, volume: Callable[[float], str] | None
    ) -> None:
        path = self.table(tmp_path, delimiter, volume)
        with pytest.raises(DataError, match=r"thousands='\.' or decimal='\.'"):
            read_candles(path)
        check(read_candles(path, thousands="."), self.PRICES, ("open", "close"))

    def test_ungrouped_volumes_show_decimals_but_not_for_certain(self, tmp_path: Path) -> None:
        candles = read_candles(self.table(tmp_path, ";", lambda v: f"{v:.0f}"))
        [finding] = findings(candles, "number-notation")
        assert finding.startswith("warning")
        assert "thousands='.'" in finding

    def test_german_names_beside_ungrouped_volumes_are_refused(self, tmp_path: Path) -> None:
        path = self.table(tmp_path, ";", lambda v: f"{v:.0f}", "Datum,Eröffnung,Hoch,Tief,Schluss,Stück")
        with pytest.raises(DataError, match="thousands="):
            read_candles(path)

    def test_three_decimals_in_files_with_commas_and_of_metatrader(self, tmp_path: Path) -> None:
        yen = walk(DAYS, 148, 3)
        rows = [f"{t:%Y-%m-%d}," + ",".join(f"{v:.3f}" for v in r.iloc[:4]) + ",87" for t, r in yen.iterrows()]
        for header, sign in ((HEADER, ","), ("<DATE>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<TICKVOL>", "\t")):
            path = write(tmp_path, header.replace(",", sign), [row.replace(",", sign) for row in rows])
            candles = read_candles(path)
            check(candles, yen, ("open", "close"))
            assert not [f for f in candles.findings if f.severity == "warning"]

    @pytest.mark.parametrize("freq", ["1D", "1h"])
    def test_volumes_with_points_beside_prices_in_cents(self, tmp_path: Path, freq: str) -> None:
        truth = walk(pd.date_range("2024-01-02", periods=120, freq=freq), 101.25)
        truth["volume"] = 1000 + truth["volume"] % 900_000
        rows = [
            f"{t:%Y-%m-%d %H:%M};" + ";".join(f"{v:.2f}" for v in r.iloc[:4]) + f";{european(r.volume)}"
            for t, r in truth.iterrows()
        ]
        candles = read_candles(write(tmp_path, HEADER.replace(",", ";"), rows))
        assert any(f.startswith("warning") for f in findings(candles, "number-notation"))

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(seed=st.integers(0, 10**6), size=st.floats(0.5, 12), whole=st.integers(2, 9), thousands=st.booleans())
    def test_whole_numbers_among_open_ones_are_never_silently_misread(
        self, tmp_path: Path, seed: int, size: float, whole: int, thousands: bool
    ) -> None:
        random = np.random.default_rng(seed)
        truth = TRUTH.copy()
        volume = np.exp(random.normal(size, 1, len(truth)))
        volume = np.maximum(np.round(volume if not thousands else volume * 100, 0 if thousands else 3), 1)
        truth["volume"] = volume if thousands else np.where(np.arange(len(volume)) % whole == 0, volume.round(), volume)
        text = [european(v) if thousands else f"{v:.0f}" if v == round(v) else f"{v:.3f}" for v in truth["volume"]]
        rows = [f"{line.rpartition(',')[0]},{cell}" for line, cell in zip(lines(), text, strict=True)]
        with suppress(DataError):
            candles = read_candles(write(tmp_path, HEADER, rows))
            if not any(f.startswith("warning") for f in findings(candles, "number-notation")):
                check(candles, truth)


class TestRepliesOfExchanges:
    def rows(self, cells: Callable[[int, pd.Series], list[Any]]) -> list[list[Any]]:
        return [
            [int(time.timestamp()), *(f"{v:.1f}" for v in row.iloc[:4]), *cells(i, row)]
            for i, (time, row) in enumerate(HOURS.iterrows())
        ]

    @pytest.mark.parametrize("kind", ["csv", "headerless", "json", "rows"])
    def test_okx_from_new_to_old_with_a_forming_candle(self, tmp_path: Path, kind: str) -> None:
        rows = self.rows(lambda i, r: [f"{r.volume:.0f}", f"{r.volume / 100:.2f}", f"{r.amount:.2f}", str(int(i < 99))])
        table = [[str(row[0] * 1000), *row[1:]] for row in rows[::-1]]
        text = [",".join(row) for row in table]
        source: Any = table
        if kind == "json":
            source = write(tmp_path, None, [json.dumps({"code": "0", "data": table})], "a.json")
        elif kind != "rows":
            source = write(tmp_path, "ts,o,h,l,c,vol,volCcy,volCcyQuote,confirm" if kind == "csv" else None, text)
        candles = read_candles(source)
        check(candles, HOURS.iloc[:-1], ("open", "close", "volume", "amount"))
        assert candles.end == HOURS.index[-2].tz_localize("UTC")
        assert "'confirm'" in findings(candles, "forming-candle")[0]

    def test_okx_index_candles_have_no_volume(self) -> None:
        candles = read_candles(self.rows(lambda i, r: [str(int(i < 99))]))
        check(candles, HOURS.iloc[:-1], ("open", "close"))
        assert not candles.has_volume

    @pytest.mark.parametrize("last", [98, 99])
    def test_kraken_s_mean_price_is_no_volume(self, tmp_path: Path, last: int) -> None:
        rows = self.rows(lambda i, r: [f"{(r.high + r.low) / 2:.1f}", f"{r.volume:.8f}", 50 + i % 7])
        reply = {"error": [], "result": {"XXBTZUSD": rows, "last": rows[last][0]}}
        check(read_candles(write(tmp_path, None, [json.dumps(reply)], "a.json")), HOURS.iloc[: last + 1])
        check(read_candles(rows), HOURS)

    def test_a_column_of_flags_that_says_nothing(self, tmp_path: Path) -> None:
        for flags in (lambda i: ",0", lambda i: ",1", lambda i: f",{(i + 1) % 2}" if i < 9 else ",1", lambda i: ",x"):
            check(read_candles(write(tmp_path, f"{HEADER},Closed", lines(end=flags))))

    @pytest.mark.parametrize("granularity", ["1d", "1h"])
    def test_yahoo_s_chart(self, tmp_path: Path, granularity: str) -> None:
        local = pd.DatetimeIndex(DAYS).tz_localize("America/New_York") + pd.Timedelta(hours=9.5)
        columns = {name: TRUTH[name].tolist() for name in ("close", "open", "high", "low", "volume")}
        meta = {
            "exchangeTimezoneName": "America/New_York",
            "dataGranularity": granularity,
            "validRanges": list("abcdef"),
        }
        result = {"meta": meta, "timestamp": [int(t.timestamp()) for t in local], "indicators": {"quote": [columns]}}
        result["indicators"]["adjclose"] = [{"adjclose": (TRUTH["close"] * 0.9).tolist()}]
        reply = {"chart": {"result": [result], "error": None}}
        candles = read_candles(write(tmp_path, None, [json.dumps(reply)], "a.json"))
        check(candles)
        assert (candles.index == (DAYS if granularity == "1d" else local)).all()
        reply["chart"]["result"] *= 2
        with pytest.raises(DataError, match="2 instruments"):
            read_candles(write(tmp_path, None, [json.dumps(reply)], "a.json"))

    def test_rows_in_brackets(self, tmp_path: Path) -> None:
        rows = [json.dumps(row) + "," for row in self.rows(lambda i, r: [f"{r.volume:.0f}"])]
        check(read_candles(write(tmp_path, None, rows, "a.jsonl")), HOURS)
        with pytest.raises(DataError, match="is JSON; correct the suffix"):
            read_candles(write(tmp_path, None, rows))


class TestExchangedNames:
    @pytest.mark.parametrize("newest_first", [False, True])
    def test_open_and_close(self, tmp_path: Path, newest_first: bool) -> None:
        rows = lines()[::-1] if newest_first else lines()
        exchanged = "Date,Close,High,Low,Open,Volume"
        [finding] = findings(read_candles(write(tmp_path, exchanged, rows)), "open-and-close")
        assert finding.startswith("warning")
        given = read_candles(write(tmp_path, exchanged, rows), columns={"open": "Close", "close": "Open"})
        check(given)
        assert not findings(given, "open-and-close")
        assert not findings(read_candles(write(tmp_path, HEADER, rows)), "open-and-close")


PLACES = {"timestamps": 4, "open": 5, "high": 6, "low": 7, "close": 8, "volume": 9}


class TestColumnsByPosition:
    @pytest.mark.parametrize("places", [PLACES, {name: str(place) for name, place in PLACES.items()}])
    @pytest.mark.parametrize("header", [None, "a,b,c,d,e,f,g,h,i", "Close,Close,Close,Close,x,x,x,x,x"])
    def test_in_files_with_and_without_names(self, tmp_path: Path, places: Any, header: str | None) -> None:
        rows = [f"AAA,BBB,CCC,{line}" for line in lines()]
        check(read_candles(write(tmp_path, header, rows), columns=places))

    def test_one_of_a_file_without_names(self, tmp_path: Path) -> None:
        rows = lines(end=lambda i: f",{i + 10}.5")
        candles = read_candles(write(tmp_path, None, rows), columns={"volume": 7})
        assert candles.frame["volume"].iloc[0] == 10.5
        check(candles, columns=("open", "close"))

    def test_of_rows(self) -> None:
        table = [[int(time.timestamp()), *row.iloc[:5]] for time, row in TRUTH.iterrows()]
        check(read_candles(table, columns={"close": 5}))
        assert read_candles(table, columns={"close": 2, "open": 5}).frame["close"].iloc[0] == TRUTH["open"].iloc[0]

    def test_a_label_of_digits_comes_first(self, tmp_path: Path) -> None:
        check(read_candles(write(tmp_path, "Date,Open,High,Low,2,Volume", lines()), columns={"close": "2"}))

    @pytest.mark.parametrize("place", [0, 7, "-1"])
    def test_beyond_the_columns(self, tmp_path: Path, place: Any) -> None:
        for header in (HEADER, None):
            with pytest.raises(DataError, match=f"no column {place}.* 1 to 6"):
                read_candles(write(tmp_path, header, lines()), columns={"close": place})


class TestTimes:
    @pytest.mark.parametrize("header", [HEADER, HEADER.replace("Date", "Week"), None])
    @pytest.mark.parametrize(
        ("form", "freq", "interval"),
        [
            ("%y%m%d", "B", "1d"), ("%d%m%y", "B", "1d"), ("%m%d%y", "B", "1d"), ("%Y", "YS", "12mo"),
            ("%Y%m", "MS", "1mo"), ("%G-W%V", "W-MON", "1w"), ("%GW%V", "W-MON", "1w"), ("%G%V", "W-MON", "1w"),
            ("%G-W%V-1", "W-MON", "1w"), ("quarter", "QS", "3mo"), ("range", "W-MON", "1w"), ("%Y-%m", "MS", "1mo"),
        ],
    )  # fmt: skip
    def test_short_notations(self, tmp_path: Path, header: str | None, form: str, freq: str, interval: str) -> None:
        times = pd.date_range("2003-01-06", periods=120 if freq[0] not in "QYM" else 22, freq=freq)
        stamps = [
            f"{t.year}Q{t.quarter}" if form == "quarter"
            else f"{t:%Y-%m-%d}/{t + pd.Timedelta(days=6):%Y-%m-%d}" if form == "range" else t.strftime(form)
            for t in times
        ]  # fmt: skip
        rows = [f"{stamp},{cells}" for stamp, cells in zip(stamps, CELLS, strict=False)]
        candles = load_candles(write(tmp_path, header, rows), ReadOptions(now=NOW))
        check(candles, TRUTH.iloc[: len(rows)])
        assert (candles.index == times).all()
        assert str(candles.interval) == interval

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        start=st.dates(pd.Timestamp("1990-01-01").date(), pd.Timestamp("2026-01-01").date()),
        rows=st.integers(5, 120), form=st.sampled_from(["%y%m%d", "%d%m%y", "%m%d%y"]), freq=st.sampled_from("BDW"),
    )  # fmt: skip
    def test_six_digits_are_never_other_dates(
        self, tmp_path: Path, start: Any, rows: int, form: str, freq: str
    ) -> None:
        times = pd.date_range(start, periods=rows, freq=freq)
        assume(times[-1] < NOW)  # no order of the digits is taken that reaches into the future
        text = [f"{time.strftime(form)},{cells}" for time, cells in zip(times, CELLS, strict=False)]
        with suppress(DataError):
            candles = load_candles(write(tmp_path, HEADER, text), ReadOptions(now=NOW))
            assert (candles.index == times).all()

    def test_columns_of_year_month_and_day(self, tmp_path: Path) -> None:
        rows = [f"{t.year},{t.month},{t.day},{cells}" for t, cells in zip(DAYS, CELLS, strict=True)]
        candles = read_candles(write(tmp_path, HEADER.replace("Date", "Year,Month,Day"), rows))
        check(candles)
        assert (candles.index == DAYS).all()
        rows = [
            f"{t.year},{t.month},{t.day},{t.hour},{t.minute},{cells}"
            for t, cells in zip(HOURS.index, CELLS, strict=False)
        ]
        candles = read_candles(write(tmp_path, HEADER.replace("Date", "Year,Month,Day,Hour,Minute"), rows))
        assert (candles.index == HOURS.index).all()


class TestPrints:
    @pytest.mark.parametrize("truth", [TRUTH, HOURS])
    @pytest.mark.parametrize("index", ["none", "named", "reset", "hidden"])
    def test_to_string(self, tmp_path: Path, truth: pd.DataFrame, index: str) -> None:
        frame = truth[["open", "high", "low", "close", "volume"]].rename_axis(None if index == "none" else "Date")
        frame = frame.reset_index() if index in ("reset", "hidden") else frame
        path = tmp_path / "a.txt"
        path.write_text(frame.to_string(index=index != "hidden"))
        candles = read_candles(path)
        check(candles, truth)
        assert (candles.index == truth.index).all()

    def test_a_shortened_print(self, tmp_path: Path) -> None:
        path = tmp_path / "a.txt"
        path.write_text(str(TRUTH))
        with pytest.raises(DataError, match=r"shortened print.*to_csv"):
            read_candles(path)


class TestText:
    def test_names_over_several_lines(self, tmp_path: Path) -> None:
        header = 'Date,"Open\n(USD)","High\n(USD)","Low\n(USD)","Close\n(USD)","Volume\n(shares)"'
        check(read_candles(write(tmp_path, header, lines())))
        rows = lines()
        rows[7] = rows[7].replace(",", ",,", 1)
        with pytest.raises(DataError, match=r"line|Line 14"):
            read_candles(write(tmp_path, header, rows))

    @pytest.mark.parametrize(
        ("charset", "header"),
        [
            ("euc_jp", "日付,始値,高値,安値,終値,出来高"), ("iso2022_jp", "日付,始値,高値,安値,終値,出来高"),
            ("hz", "日期,开盘,最高,最低,收盘,成交量"), ("koi8_r", "Дата,Открытие,Максимум,Минимум,Закрытие,Объём"),
            ("cp866", "Дата,Открытие,Максимум,Минимум,Закрытие,Объём"),
            ("iso8859_5", "Дата,Открытие,Максимум,Минимум,Закрытие,Объём"),
            ("mac_roman", "Datum,Eröffnung,Hoch,Tief,Schlußkurs,Stück"),
            ("cp850", "Datum,Eröffnung,Hoch,Tief,Schlußkurs,Stück"),
            ("cp1250", "Data,Otwarcie,Najwyższy,Najniższy,Zamknięcie,Wolumen"),
            ("cp1254", "Tarih,Açılış,Yüksek,Düşük,Kapanış,Hacim"), ("utf-32-le", HEADER), ("utf-32-be", HEADER),
        ],
    )  # fmt: skip
    def test_charsets(self, tmp_path: Path, charset: str, header: str) -> None:
        path = tmp_path / "a.csv"
        path.write_bytes("\n".join([header, *lines()]).encode(charset))
        candles = read_candles(path)
        check(candles)
        assert findings(candles, "charset")

    def test_ebcdic(self, tmp_path: Path) -> None:
        path = tmp_path / "a.csv"
        path.write_bytes("\n".join([HEADER, *lines()]).encode("cp037"))
        with pytest.raises(DataError, match="EBCDIC"):
            read_candles(path)
