"""What a caller knows takes precedence over what is inferred; contradictions and open questions are refused."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kronos.candles import Candles, ReadOptions, read_candles, read_many
from kronos.candles.io import load_candles
from kronos.errors import DataError, ParameterError
from kronos.intervals import Interval

DAYS = pd.bdate_range("2024-01-02", periods=40)
NOW = pd.Timestamp("2026-11-28")


def write(folder: Path, lines: list[str], name: str = "a.csv", charset: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes("\n".join(lines).encode(charset))
    return path


def rows(form: str = "%Y-%m-%d", sign: str = ";", price: str = "10.5", volume: str = "5") -> list[str]:
    return [sign.join([day.strftime(form), price, "11.5", "9.5", price, volume]) for day in DAYS]


def codes(candles: Candles) -> set[str]:
    return {finding.code for finding in candles.findings}


def test_columns_by_name(tmp_path: Path) -> None:
    path = write(tmp_path, ["Wann;Anfangswert;Oben;Unten;Endwert;Menge", *rows()])
    names = {
        "timestamps": "Wann", "open": "Anfangswert", "high": "Oben", "low": "Unten", "close": "Endwert",
        "volume": "Menge",
    }  # fmt: skip
    candles = read_candles(path, columns=names)
    assert candles.frame.iloc[0, :5].tolist() == [10.5, 11.5, 9.5, 10.5, 5]
    with pytest.raises(DataError, match=r"'Anfangswert'.*columns="):
        read_candles(path)


@pytest.mark.parametrize(
    ("decimal", "thousands", "expected"), [(",", None, 1.234), (None, ",", 1234.0), (".", None, 1234.0)]
)
def test_open_notations_need_an_option(
    tmp_path: Path, decimal: str | None, thousands: str | None, expected: float
) -> None:
    lines = ["Date;Open;High;Low;Close", *(f"{day:%Y-%m-%d};1,234;1,240;1,230;1,236" for day in DAYS)]
    path = write(tmp_path, lines)
    with pytest.raises(DataError, match=r"1234 or 1.234.*thousands=','.*decimal=','"):
        read_candles(path)
    assert read_candles(path, decimal=decimal, thousands=thousands).frame["open"].iloc[0] == expected


def test_amounts_decide_an_open_notation(tmp_path: Path) -> None:
    header = "Date;Open;High;Low;Close;Volume;Amount"
    lines = [header, *(f"{day:%Y-%m-%d};12.34;12.40;12.30;12.36;5,250;64890.00" for day in DAYS)]
    assert read_candles(write(tmp_path, lines)).frame["volume"].iloc[0] == 5250


def test_notations_that_contradict_the_cells_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, ["Date;Open;High;Low;Close;Volume", *rows(volume="5.25")])
    with pytest.raises(ParameterError, match="decimal=','"):
        read_candles(path, decimal=",")
    mixed = [
        "Date;Open;High;Low;Close",
        *(f"{d:%Y-%m-%d};{'1,5' if i % 2 else '1.5'};2,5;1,4;1.5" for i, d in enumerate(DAYS)),
    ]
    with pytest.raises(DataError, match="mixes"):
        read_candles(write(tmp_path, mixed))


def test_ambiguous_dates_need_an_option(tmp_path: Path) -> None:
    days = pd.date_range("2024-01-02", periods=9)
    lines = ["Date;Open;High;Low;Close", *(f"{day:%d/%m/%Y};10;11;9;10" for day in days)]
    path = write(tmp_path, lines)
    with pytest.raises(DataError, match=r"date_format='%d/%m/%Y' or date_format='%m/%d/%Y'"):
        read_candles(path)
    assert read_candles(path, date_format="%d/%m/%Y").end == days[-1]
    assert read_candles(path, date_format="%m/%d/%Y").end == pd.Timestamp("2024-10-01")
    with pytest.raises(DataError, match=r"date_format='%Y'|notation"):
        read_candles(path, date_format="%Y-%m-%d")
    with pytest.raises(ParameterError, match="day first"):
        read_candles(path, date_format="day first")


def test_a_date_format_applies_to_dates_beside_times_of_day(tmp_path: Path) -> None:
    lines = ["Date;Time;Open;High;Low;Close", *(f"05/06/2024;{h:02d}:00;10;11;9;10" for h in range(20))]
    path = write(tmp_path, lines)
    assert read_candles(path, date_format="%d/%m/%Y").end == pd.Timestamp("2024-06-05 19:00")
    assert read_candles(path, date_format="%m/%d/%Y %H:%M").end == pd.Timestamp("2024-05-06 19:00")


def test_the_header_line_can_be_given(tmp_path: Path) -> None:
    lines = ["Open;High;Low;Close;of;ACME", "Date;Open;High;Low;Close;Volume", *rows()]
    assert len(read_candles(write(tmp_path, lines), header=2)) == 40
    headerless = read_candles(write(tmp_path, rows()), header=0)
    assert "no-header" in codes(headerless)
    with pytest.raises(ParameterError, match="header=500"):
        read_candles(write(tmp_path, lines), header=500)
    with pytest.raises(ParameterError, match="header=-1"):
        read_candles(write(tmp_path, lines), header=-1)


@pytest.mark.parametrize("options", [{"decimal": "x"}, {"thousands": ";"}, {"decimal": ",", "thousands": ","}])
def test_invalid_signs_raise(options: dict[str, str]) -> None:
    with pytest.raises(ParameterError, match=r"decimal=|thousands="):
        ReadOptions(**options)


def test_options_apply_to_long_tables_and_frames(tmp_path: Path) -> None:
    lines = ["Symbol;Date;Open;High;Low;Close"]
    lines += [f"{name};{day:%Y-%m-%d};1,234;1,240;1,230;1,236" for name in "AB" for day in DAYS]
    series = read_many(write(tmp_path, lines), decimal=",")
    assert [candles.frame["open"].iloc[0] for candles in series.values()] == [1.234, 1.234]
    frame = pd.DataFrame({"date": DAYS, **dict.fromkeys(("open", "high", "low", "close"), "1,5")})
    assert Candles.from_frame(frame, decimal=",").frame["open"].iloc[0] == 1.5


def test_inferred_dates_never_lie_in_the_future(tmp_path: Path) -> None:
    lines = ["Date;Open;High;Low;Close", *(f"{day:%d-%b}-{day:%y};10;11;9;10" for day in DAYS)]
    path = write(tmp_path, lines)
    assert load_candles(path, ReadOptions(now=NOW)).start == DAYS[0]
    earlier = load_candles(path, ReadOptions(now=pd.Timestamp("2020-01-01")))
    assert earlier.start == pd.Timestamp("1924-01-02")


@pytest.mark.parametrize("zone", ["UTC+8", "GMT+08:00", "+08:00"])
def test_offsets_as_timezones_name_the_zones(tmp_path: Path, zone: str) -> None:
    with pytest.raises(ParameterError, match=r"Asia/Shanghai or Etc/GMT-8"):
        read_candles(write(tmp_path, ["Date;Open;High;Low;Close;Volume", *rows()]), timezone=zone)


def test_abbreviations_as_timezones_name_the_zones() -> None:
    frame = pd.DataFrame({"date": DAYS, **dict.fromkeys(("open", "high", "low", "close"), 1.5)})
    with pytest.raises(ParameterError, match="Asia/Kolkata"):
        read_candles(frame, timezone="IST")


@pytest.mark.parametrize("text", ["500ms", "10us", "5hs"])
def test_units_below_a_second_are_no_intervals(text: str) -> None:
    with pytest.raises(ParameterError, match=text):
        Interval.parse(text)


@pytest.mark.parametrize("names", [("EST", "EDT"), ("PST", "PDT"), ("CET", "CEST"), ("AEST", "AEDT")])
def test_abbreviations_of_both_halves_of_the_year(tmp_path: Path, names: tuple[str, str]) -> None:
    zone = {"E": "America/New_York", "P": "America/Los_Angeles", "C": "Europe/Berlin", "A": "Australia/Sydney"}[
        names[0][0]
    ]
    times = pd.date_range("2024-01-10 16:00", periods=200, freq="D", tz=zone)
    cells = [f"{time:%Y-%m-%d %H:%M:%S} {names[bool(time.dst())]}" for time in times]
    lines = ["Date;Open;High;Low;Close", *(f"{cell};10;11;9;10" for cell in cells)]
    assert (read_candles(write(tmp_path, lines)).index == times).all()
    swapped = [line.replace(names[1], "X").replace(names[0], names[1]).replace("X", names[0]) for line in lines]
    with pytest.raises(DataError, match="timezone="):
        read_candles(write(tmp_path, swapped))


def test_a_column_that_resembles_volume_is_named(tmp_path: Path) -> None:
    lines = ["Date;Open;High;Low;Close;Traded vol.", *rows()]
    candles = read_candles(write(tmp_path, lines))
    [finding] = [f for f in candles.findings if f.code == "unused-column"]
    assert "Traded vol." in finding.message
    assert "columns={'volume'" in finding.message


def test_repairs_are_bounded() -> None:
    close = 100 + np.sin(np.arange(100))
    frame = pd.DataFrame(
        {
            "date": pd.date_range("2024-01-01", periods=100),
            "open": close,
            "high": close + 1,
            "low": close - 1,
            "close": close,
        }
    )
    few = frame.copy()
    few.loc[:4, "close"] = 150.0
    assert "range-too-narrow" in codes(read_candles(few))
    many = frame.copy()
    many.loc[:5, "close"] = 150.0
    with pytest.raises(DataError, match=r"6 of 100 rows.*5%"):
        read_candles(many)
    exchanged = frame.rename(columns={"high": "low", "low": "high"})
    with pytest.raises(DataError, match="exchanged"):
        read_candles(exchanged)


def test_losing_every_row_of_a_time_of_day_is_refused() -> None:
    times = pd.date_range("2024-01-01", periods=24 * 12, freq="h")
    frame = pd.DataFrame({"date": times, **dict.fromkeys(("open", "high", "low", "close"), 1.5)})
    frame.loc[times.hour == 0, "close"] = -1.0
    with pytest.raises(DataError, match="every row of 00:00"):
        read_candles(frame)


def test_two_copies_joined_are_named() -> None:
    close = 100 + np.sin(np.arange(100))
    frame = pd.DataFrame(
        {
            "date": pd.date_range("2024-01-01", periods=100, freq="h"),
            "open": close,
            "high": close + 1,
            "low": close - 1,
            "close": close,
        }
    )
    candles = read_candles(pd.concat([frame, frame.iloc[40:70]]))
    [finding] = [f for f in candles.findings if f.code == "duplicate-session"]
    assert finding.count == 30


@pytest.mark.parametrize("as_rows", [False, True])
def test_rows_of_exchanges_are_read(as_rows: bool) -> None:
    stamps = DAYS.as_unit("ms").asi8.tolist()
    table = [[stamp, 10.0, 11.0, 9.0, 10.5, 3.0] for stamp in stamps]
    source = (
        table
        if as_rows
        else [dict(zip(("time", "open", "high", "low", "close", "volume"), row, strict=True)) for row in table]
    )
    candles = read_candles(source)
    assert candles.frame.iloc[0, :5].tolist() == [10, 11, 9, 10.5, 3]
    assert candles.start == DAYS[0].tz_localize("UTC")


def test_downloads_after_reset_index() -> None:
    columns = pd.MultiIndex.from_product(
        [["Close", "High", "Low", "Open", "Volume"], ["AAPL"]], names=["Price", "Ticker"]
    )
    frame = pd.DataFrame([[10, 11, 9, 10, 5]] * 40, columns=columns, index=DAYS.rename("Date"))
    assert len(read_candles(frame.reset_index())) == 40


@pytest.mark.parametrize("shape", ["records", "columns", "envelope", "alpha"])
def test_json_shapes(tmp_path: Path, shape: str) -> None:
    import json

    names = ("time", "open", "high", "low", "close", "volume")
    table = [[day.strftime("%Y-%m-%d"), 10.0, 11.0, 9.0, 10.5, 3.0] for day in DAYS]
    records = [dict(zip(names, row, strict=True)) for row in table]
    document = {
        "records": records,
        "columns": {name: [row[i] for row in table] for i, name in enumerate(names)},
        "envelope": {"status": "OK", "results": records},
        "alpha": {
            "Meta Data": {"1. Symbol": "X"},
            "Time Series": {r["time"]: {f"{i}. {n}": r[n] for i, n in enumerate(names[1:], 1)} for r in records},
        },
    }[shape]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(document))
    candles = read_candles(path)
    assert (len(candles), candles.start) == (40, DAYS[0])
    assert candles.frame.iloc[0, :5].tolist() == [10, 11, 9, 10.5, 3]


@pytest.mark.parametrize("text", ["[1, 2", '{"a": 1}', "[[1, 2], [3, 4]]", "[" * 5000, '[{"open": 1}]', "{}\n{}"])
def test_other_json_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"a\.json"):
        read_candles(path)


@pytest.mark.parametrize(
    "names",
    [
        ["Datum", "Zuletzt", "Eröffn.", "Hoch", "Tief", "Vol.", "+/- %"],
        ["Date", "Dernier", "Ouv.", "Plus Haut", "Plus Bas", "Vol.", "Variation %"],
        ["Fecha", "Último", "Apertura", "Máximo", "Mínimo", "Vol.", "% var."],
        ["Дата", "Цена", "Откр.", "Макс.", "Мин.", "Объём", "Изм. %"],
        ["日付け", "終値", "始値", "高値", "安値", "出来高", "変化率 %"],
        ["날짜", "종가", "시가", "고가", "저가", "거래량", "변동 %"],
        ["日期", "收市", "開市", "高", "低", "成交量", "更改%"],
        ["Data", "Zamkniecie", "Otwarcie", "Najwyzszy", "Najnizszy", "Wolumen", "x"],
    ],
)
def test_names_that_vendors_use(tmp_path: Path, names: list[str]) -> None:
    lines = [";".join(names), *(f"{day:%Y-%m-%d};10.5;10.25;11;9;7;0" for day in DAYS)]
    candles = read_candles(write(tmp_path, lines))
    assert candles.frame.iloc[0, :5].tolist() == [10.25, 11, 9, 10.5, 7]
    assert not candles.has_amount


def test_volumen_is_an_amount_beside_stuecke(tmp_path: Path) -> None:
    lines = ["Datum;Erster;Hoch;Tief;Schlusskurs;Stuecke;Volumen", *(f"{d:%Y-%m-%d};10;11;9;10;7;70" for d in DAYS)]
    assert read_candles(write(tmp_path, lines)).frame.iloc[0, 4:].tolist() == [7, 70]
    lines = ["Datum;Erster;Hoch;Tief;Schlusskurs;Volumen", *(f"{d:%Y-%m-%d};10;11;9;10;7" for d in DAYS)]
    assert read_candles(write(tmp_path, lines)).frame["volume"].iloc[0] == 7
