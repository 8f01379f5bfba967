"""Tables whose cells contradict what their form suggests are refused or read by the evidence: never other numbers."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kronos.candles import Candles, read_candles, read_many
from kronos.errors import DataError, ParameterError

DAYS = pd.bdate_range("2024-01-02", periods=120)
HEADER = "Date,Open,High,Low,Close,Volume"


def walk(times: pd.DatetimeIndex, price: float = 150.0, digits: int = 2, seed: int = 1) -> pd.DataFrame:
    """A known table: a random walk with volume and amount."""
    random = np.random.default_rng(seed)
    close = price * np.exp(np.cumsum(random.normal(0, 0.01, len(times))))
    open_ = np.append(price, close[:-1]) * np.exp(random.normal(0, 0.001, len(times)))
    high, low = np.maximum(open_, close) * 1.004, np.minimum(open_, close) * 0.996
    frame = pd.DataFrame({"open": open_, "high": high, "low": low, "close": close}, index=times).round(digits)
    frame["volume"] = np.round(np.exp(random.normal(12, 0.8, len(times))))
    frame["amount"] = np.round(frame["volume"] * frame["close"])
    return frame


TRUTH = walk(DAYS)


def write(folder: Path, header: str | None, rows: list[str], name: str = "a.csv") -> Path:
    path = folder / name
    path.write_text("\n".join([*([header] if header else []), *rows]) + "\n")
    return path


def lines(truth: pd.DataFrame = TRUTH, form: str = "%Y-%m-%d", end: Callable[[int], str] | None = None) -> list[str]:
    """Rows of date, prices, volume, and more cells."""
    return [
        f"{time:{form}},{row.open:.2f},{row.high:.2f},{row.low:.2f},{row.close:.2f},{row.volume:.0f}"
        + (end(i) if end else "")
        for i, (time, row) in enumerate(truth.iterrows())
    ]


def check(candles: Candles, truth: pd.DataFrame = TRUTH, columns: Sequence[str] = ("open", "close", "volume")) -> None:
    assert len(candles) == len(truth)
    for column in columns:
        np.testing.assert_array_equal(candles.frame[column], truth[column], err_msg=column)


class TestRowsOfAnotherWidth:
    def test_a_cell_more_than_the_header_is_not_left_out(self, tmp_path: Path) -> None:
        unquoted = [line[:-3] + "," + line[-3:] for line in lines()]
        for rows in (unquoted, lines(end=lambda i: ",7")):
            with pytest.raises(DataError, match=r"7 cells, but the header has 6.*header="):
                read_candles(write(tmp_path, HEADER, rows))

    def test_an_empty_cell_at_the_end_of_each_row(self, tmp_path: Path) -> None:
        check(read_candles(write(tmp_path, HEADER, lines(end=lambda i: ","))))

    def test_rows_that_lack_a_cell_are_dropped_and_not_repaired(self, tmp_path: Path) -> None:
        rows = lines()
        rows[7] = ",".join(rows[7].split(",")[:1] + rows[7].split(",")[2:])
        candles = read_candles(write(tmp_path, HEADER, rows))
        check(candles, TRUTH.drop(TRUTH.index[7]))
        [finding] = [f for f in candles.findings if f.severity == "warning"]
        assert (finding.code, finding.rows) == ("short-row", (9,))

    def test_many_rows_that_lack_a_cell(self, tmp_path: Path) -> None:
        rows = [line if i % 9 else line.rpartition(",")[0] for i, line in enumerate(lines())]
        with pytest.raises(DataError, match="line 2 with fewer cells"):
            read_candles(write(tmp_path, HEADER, rows))

    def test_another_delimiter_within_the_file(self, tmp_path: Path) -> None:
        rows = [line if i < 60 else line.replace(",", ";") for i, line in enumerate(lines())]
        with pytest.raises(DataError, match=r"line 62 with fewer cells.*delimiter"):
            read_candles(write(tmp_path, HEADER, rows))

    def test_whole_prices_with_unquoted_thousands_commas(self, tmp_path: Path) -> None:
        whole = walk(DAYS, 3200, 0)
        rows = [
            f"{time:%Y-%m-%d}," + ",".join(f"{price:,.0f}" for price in row.iloc[:4]) + ",236"
            for time, row in whole.iterrows()
        ]
        with pytest.raises(DataError, match=r"may be \d\.\d{3} or \d{4}\. Quote"):
            read_candles(write(tmp_path, HEADER, rows))


class TestRowsOfTheSameTime:
    @pytest.mark.parametrize("label", ["Name", "Stock", "SECID", "Pair", "Exchange"])
    def test_a_column_that_tells_rows_apart_is_the_symbol(self, tmp_path: Path, label: str) -> None:
        other = walk(DAYS, 30.0, seed=2)
        rows = lines(end=lambda i: ",AAA") + lines(other, end=lambda i: ",BBB")
        path = write(tmp_path, f"{HEADER},{label}", rows)
        with pytest.raises(DataError, match="2 instruments"):
            read_candles(path)
        panel = read_many(path)
        check(panel["AAA"])
        check(panel["BBB"], other)

    def test_a_name_beside_distinct_times_changes_nothing(self, tmp_path: Path) -> None:
        rows = lines(end=lambda i: ",ESH4" if i < 50 else ",ESM4")
        check(read_candles(write(tmp_path, f"{HEADER},Contract", rows)))

    def test_several_instruments_without_a_name(self, tmp_path: Path) -> None:
        rows = lines() + lines(walk(DAYS, 30.0, seed=2))
        for header in (HEADER, None):
            with pytest.raises(DataError, match=r"120 rows.*other prices.*columns=.*symbol"):
                read_candles(write(tmp_path, header, rows))

    def test_dates_that_lost_their_clock(self, tmp_path: Path) -> None:
        truth = walk(pd.date_range("2024-01-02 09:30", periods=100, freq="5min"))
        with pytest.raises(DataError, match="time of day"):
            read_candles(write(tmp_path, HEADER, lines(truth)))

    def test_numbers_of_rows_are_no_instruments(self, tmp_path: Path) -> None:
        rows = [f"{i},{line}" for i, line in enumerate(lines())]
        check(read_candles(write(tmp_path, None, rows)))


class TestVolumeAndAmount:
    def cells(self, kind: str) -> list[str]:
        volume, amount = TRUTH["volume"], TRUTH["amount"]
        return [
            {
                "amount first": f"{amount.iloc[i]:.0f},{volume.iloc[i]:.0f}",
                "rate": f"0.5,{volume.iloc[i]:.0f},{amount.iloc[i]:.0f}",
                "change": f"{(-1) ** i * 0.5},{volume.iloc[i]:.0f}",
                "constant": f"1,{volume.iloc[i]:.0f},0",
                "trades": f"{300 + i % 7},{volume.iloc[i]:.0f}",
                "divided": f"{i % 900 + 1},{(i * 37) % 1000:03d}",
            }[kind]
            for i in range(len(TRUTH))
        ]

    def rows(self, kind: str) -> list[str]:
        return [line.rpartition(",")[0] + "," + cells for line, cells in zip(lines(), self.cells(kind), strict=True)]

    @pytest.mark.parametrize("kind", ["amount first", "rate"])
    def test_the_amount_shows_the_volume_of_a_table_without_header(self, tmp_path: Path, kind: str) -> None:
        candles = read_candles(write(tmp_path, None, self.rows(kind)))
        check(candles, columns=("open", "close", "volume", "amount"))
        assert candles.has_amount

    def test_a_change_is_no_volume(self, tmp_path: Path) -> None:
        check(read_candles(write(tmp_path, None, self.rows("change"))))

    @pytest.mark.parametrize("kind", ["constant", "trades", "divided"])
    def test_several_numbers_that_may_be_the_volume(self, tmp_path: Path, kind: str) -> None:
        with pytest.raises(DataError, match="volume is not clear"):
            read_candles(write(tmp_path, None, self.rows(kind)))

    def test_a_turnover_called_volume(self, tmp_path: Path) -> None:
        header = "Data,Abertura,Máxima,Mínima,Fechamento,Volume,Quantidade"
        candles = read_candles(write(tmp_path, header, self.rows("amount first")))
        check(candles, columns=("volume", "amount"))

    def test_a_volume_that_is_not_the_value_of_a_quantity(self, tmp_path: Path) -> None:
        header = "Data,Abertura,Máxima,Mínima,Fechamento,Volume,Quantidade"
        with pytest.raises(DataError, match=r"not clear.*columns="):
            read_candles(write(tmp_path, header, lines(end=lambda i: f",{i % 5 + 10}")))

    def test_an_amount_without_volume_is_mentioned(self, tmp_path: Path) -> None:
        candles = read_candles(write(tmp_path, "Date,Open,High,Low,Close,Amount", lines()))
        [finding] = [f for f in candles.findings if f.severity == "warning"]
        assert finding.code == "no-volume"
        assert "'volume': 'Amount'" in finding.message

    def test_volumes_in_two_units(self, tmp_path: Path) -> None:
        rows = [line + ("手" if i % 2 else "") for i, line in enumerate(lines())]
        with pytest.raises(DataError, match="several units"):
            read_candles(write(tmp_path, HEADER, rows))


class TestClocks:
    HOURS = walk(pd.date_range("2024-01-02", periods=96, freq="h"))

    @pytest.mark.parametrize("first", [0, 1])
    def test_a_column_of_hours(self, tmp_path: Path, first: int) -> None:
        rows = [f"{t:%Y-%m-%d},{t.hour + first},{line.partition(',')[2]}" for t, line in zip(
            self.HOURS.index, lines(self.HOURS), strict=True)]  # fmt: skip
        candles = read_candles(write(tmp_path, HEADER.replace("Date", "Date,Hour"), rows))
        check(candles, self.HOURS)
        assert candles.index[0] == self.HOURS.index[0] + pd.Timedelta(hours=first)

    def test_the_message_quotes_the_clock(self, tmp_path: Path) -> None:
        rows = [f"2024-01-02,{34260 + 77 * i}s,{line.partition(',')[2]}" for i, line in enumerate(lines())]
        with pytest.raises(DataError, match="34260s"):
            read_candles(write(tmp_path, HEADER.replace("Date", "Date,Time"), rows))

    @pytest.mark.parametrize("epoch", ["0001-01-01", "1601-01-01"])
    @pytest.mark.parametrize("step", ["5min", "1h", "1D"])
    def test_ticks_of_other_clocks(self, tmp_path: Path, epoch: str, step: str) -> None:
        start = (np.datetime64("2024-01-02", "s") - np.datetime64(epoch, "s")).astype(int)
        seconds = int(pd.Timedelta(step).total_seconds())
        rows = [f"{(start + i * seconds) * 10**7},{line.partition(',')[2]}" for i, line in enumerate(lines())]
        with pytest.raises(DataError, match=r"not ns since 1970.*pd.to_datetime"):
            read_candles(write(tmp_path, HEADER, rows))

    def test_epoch_numbers_in_the_future(self, tmp_path: Path) -> None:
        rows = [f"{3_820_000_000 + 3600 * i},{line.partition(',')[2]}" for i, line in enumerate(lines())]
        with pytest.raises(DataError, match=r"not s since 1970.*2091"):
            read_candles(write(tmp_path, HEADER, rows))

    @pytest.mark.parametrize("newest_first", [False, True])
    def test_the_hour_that_is_repeated(self, tmp_path: Path, newest_first: bool) -> None:
        truth = walk(pd.date_range("2024-10-26", periods=72, freq="h", tz="UTC"))
        local = truth.set_axis(truth.index.tz_convert("Europe/Berlin"))  # type: ignore[attr-defined]
        rows = lines(local, "%Y-%m-%d %H:%M")
        candles = read_candles(write(tmp_path, HEADER, rows[::-1] if newest_first else rows), timezone="Europe/Berlin")
        check(candles, truth)
        assert (candles.index == truth.index).all()
        assert not [f for f in candles.findings if f.severity == "warning"]


def test_arguments_of_another_type(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER, lines())
    with pytest.raises(ParameterError, match="date_format=5"):
        read_candles(path, date_format=5)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="pass a mapping"):
        read_candles(path, columns=["open"])  # type: ignore[arg-type]


class TestRowsOfLists:
    def table(self, order: str, more: Callable[[int, pd.Series], list[float]] = lambda i, row: []) -> list[list[float]]:
        names = {"o": "open", "h": "high", "l": "low", "c": "close", "v": "volume", "a": "amount"}
        return [
            [pd.Timestamp(str(time)).timestamp(), *(float(row[names[sign]]) for sign in order), *more(i, row)]
            for i, (time, row) in enumerate(TRUTH.iterrows())
        ]

    @pytest.mark.parametrize("order", ["ohlcv", "chlov", "lhocv", "ochlv", "ohlcva", "ohlcav"])
    @pytest.mark.parametrize("source", ["rows", "json", "frame"])
    def test_the_order_is_inferred(self, tmp_path: Path, order: str, source: str) -> None:
        table: Any = self.table(order)
        if source == "json":
            table = write(tmp_path, None, [json.dumps(table)], "a.json")
        elif source == "frame":
            table = pd.DataFrame(table)
        candles = read_candles(table)
        check(candles, columns=("open", "high", "low", "close", "volume"))
        assert candles.has_amount == ("a" in order)

    def test_a_seventh_number_is_an_amount_only_if_it_fits(self) -> None:
        for more in (lambda i, row: [40 + i % 7], lambda i, row: [1.7e9 + 3600 * i]):
            candles = read_candles(self.table("ohlcv", more))
            check(candles)
            assert not candles.has_amount

    def test_a_mean_price_is_no_volume(self) -> None:
        candles = read_candles(self.table("ohlc", lambda i, row: [round((row["open"] + row["close"]) / 2, 2)]))
        assert not candles.has_volume
        assert any("not read as volume" in f.message for f in candles.findings if f.severity == "warning")
        check(read_candles(self.table("ohlc", lambda i, row: [row["open"], row["volume"], 5 + i % 3])))
