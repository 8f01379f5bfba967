"""Candles written in the notations of vendors and countries, generated from a known table."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from random import Random

import numpy as np
import pandas as pd

HEADERS = {
    "en": ("Date", "Open", "High", "Low", "Close", "Volume", "Amount"),
    "lower": ("timestamps", "open", "high", "low", "close", "volume", "amount"),
    "mt": ("<DATE>", "<OPEN>", "<HIGH>", "<LOW>", "<CLOSE>", "<VOL>", "amount"),
    "numbered": ("timestamp", "1. open", "2. high", "3. low", "4. close", "5. volume", "amount"),
    "units": ("Date", "Open (USD)", "High (USD)", "Low (USD)", "Close (USD)", "Volume (BTC)", "Turnover (USD)"),
    "de": ("Datum", "Eröffnung", "Hoch", "Tief", "Schlusskurs", "Stück", "Umsatz"),
    "fr": ("Date", "Ouverture", "Plus haut", "Plus bas", "Clôture", "Volume", "Capitaux"),
    "es": ("Fecha", "Apertura", "Máximo", "Mínimo", "Cierre", "Volumen", "Efectivo"),
    "it": ("Data", "Apertura", "Massimo", "Minimo", "Chiusura", "Volume", "Controvalore"),
    "pt": ("Data", "Abertura", "Máxima", "Mínima", "Fechamento", "Volume", "Amount"),
    "ru": ("Дата", "Открытие", "Максимум", "Минимум", "Закрытие", "Объём", "Оборот"),
    "ja": ("日付", "始値", "高値", "安値", "終値", "出来高", "売買代金"),
    "ko": ("날짜", "시가", "고가", "저가", "종가", "거래량", "거래대금"),
    "zh": ("日期", "开盘", "最高", "最低", "收盘", "成交量(股)", "成交额(元)"),
    "tw": ("日期", "開盤價", "最高價", "最低價", "收盤價", "成交股數", "成交金額"),
}
CHARSETS = {
    "de": ("cp1252",), "fr": ("cp1252",), "es": ("cp1252",), "it": ("cp1252",), "pt": ("cp1252",), "ru": ("cp1251",),
    "ja": ("cp932",), "ko": ("cp949",), "zh": ("gb18030",), "tw": ("big5",),
}  # fmt: skip
DAYS = (
    "%Y-%m-%d", "%Y/%m/%d", "%Y%m%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%d.%m.%y", "%m/%d/%y",
    "%d/%m/%y", "%y/%m/%d", "%d-%b-%Y", "%d-%b-%y", "%b %d %Y", "%Y年%m月%d日", "roc", "weekday",
)  # fmt: skip
CLOCKS = (" %H:%M", " %H:%M:%S", "T%H:%M:%S", " %I:%M %p", " %H:%M:%S.000", "T%H:%M:%SZ", " %H:%M:%S+08:00", " zone")
EPOCHS = {"s": 10**9, "ms": 10**6, "us": 10**3}
COMMA_LOCALES = ("de", "fr", "es", "it", "pt", "ru")
NOW = pd.Timestamp("2026-11-28")


@dataclass(frozen=True)
class Notation:
    """A file and what it says.

    Attributes:
        content: The bytes of the file.
        times: The times, in UTC if they are written as instants.
        values: Open, high, low, close, and volume and amount as far as the file has them. [n, 4 to 6]
        choices: How the file is written, for messages.
    """

    content: bytes
    times: pd.DatetimeIndex
    values: np.ndarray
    choices: dict[str, object]


def generate(seed: int) -> Notation:
    """A file of candles in a random notation."""
    choose, rng = Random(seed), np.random.default_rng(seed)
    intraday = choose.random() < 0.5
    rows = choose.randint(40, 90)
    times = _times(choose, rows, intraday)
    columns = choose.choice((4, 5, 5, 6))
    digits = choose.choice((0, 1, 2, 2, 3, 3, 4, 5))
    fractional = choose.random() < 0.4
    values = _candles(choose, rng, rows, digits, fractional)[:, :columns]
    decimal = choose.choice(".,")
    thousands = choose.choice([sign for sign in ("", "", ",", ".", " ", "'") if sign != decimal])
    delimiter = choose.choice(",;\t|")
    language = choose.choice([*HEADERS, None, None])
    if digits == 0 and thousands == "." and language not in COMMA_LOCALES:
        thousands = ""  # elsewhere 38.243 has three decimals, as the yen has
    clock, labels, cells, instants = _time_cells(choose, times, intraday, headerless=language is None)
    order = list(range(columns))
    if language is not None and choose.random() < 0.3:
        choose.shuffle(order)
    elif language is None and choose.random() < 0.3:
        order = [*choose.choice([(0, 3, 1, 2), (2, 1, 0, 3), (3, 1, 2, 0), (1, 2, 3, 0)]), *order[4:]]
    decimals = [digits] * 4 + [3 if fractional else 0, 2]
    body = []
    for i in range(rows):
        numbers = [_number(values[i, c], decimals[c], decimal, thousands) for c in order]
        body.append([*cells[i], *numbers])
    if choose.random() < 0.25:
        body.reverse()
    header = []
    if language is not None:
        names = HEADERS[language]
        time = labels or [names[0]]
        header = [*time, *[names[1 + c] for c in order]]
    text = _write(choose, header, body, delimiter)
    charset = choose.choice(["utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", *CHARSETS.get(language or "", ())])
    try:
        content = text.encode(charset)
    except UnicodeEncodeError:
        content, charset = text.encode(), "utf-8"
    choices = {
        "seed": seed, "intraday": intraday, "time": clock, "digits": digits, "decimal": decimal,
        "thousands": thousands, "delimiter": delimiter, "language": language, "order": order, "charset": charset,
    }  # fmt: skip
    return Notation(content, instants, values, choices)


def _times(choose: Random, rows: int, intraday: bool) -> pd.DatetimeIndex:
    start = pd.Timestamp(choose.choice(("2024-01-02", "2021-11-25", "2012-03-05", "2025-02-28")))
    if intraday:
        return pd.date_range(
            start + pd.Timedelta(hours=choose.choice((0, 9))), periods=rows, freq=choose.choice(("5min", "h", "4h"))
        )
    return pd.bdate_range(start, periods=rows)


def _candles(choose: Random, rng: np.random.Generator, rows: int, digits: int, fractional: bool) -> np.ndarray:
    scale = choose.choice((1.1, 14.0, 148.0, 998.0, 1234.0, 38_236.0, 1_203_456.0))
    if digits == 0:
        scale = max(scale, 400.0)
    close = scale * np.exp(np.cumsum(rng.normal(0, 0.012, rows)))
    opened = np.append(scale, close[:-1]) * np.exp(rng.normal(0, 0.001, rows))
    high = np.maximum(opened, close) * np.exp(np.abs(rng.normal(0, 0.006, rows)))
    low = np.minimum(opened, close) * np.exp(-np.abs(rng.normal(0, 0.006, rows)))
    volume = np.exp(rng.normal(choose.choice((1.0, 5.0, 7.0, 12.0)), 0.7, rows))
    prices = np.round(np.column_stack([opened, high, low, close]), digits)
    volume = np.maximum(np.round(volume, 3 if fractional else 0), 1 if not fractional else 0.001)
    amount = np.round(volume * prices.mean(axis=1), 2)
    return np.column_stack([prices, volume, amount])


def _time_cells(
    choose: Random, times: pd.DatetimeIndex, intraday: bool, *, headerless: bool
) -> tuple[str, list[str], list[list[str]], pd.DatetimeIndex]:
    """How times are written, the labels of their columns if there are two, their cells, and what they say."""
    kind = choose.random()
    if kind < 0.2:
        unit = choose.choice([*EPOCHS])
        stamps = times.as_unit("ns").asi8 // EPOCHS[unit]
        return f"epoch {unit}", [], [[str(stamp)] for stamp in stamps], times.tz_localize("UTC")
    day = choose.choice(DAYS)
    if not intraday:
        return day, [], [[_day(time, day)] for time in times], times
    if kind < 0.45:
        compact = choose.choice(("%H%M%S", "%H%M", "%H:%M", "%H:%M:%S", "bare"))
        clocks = [
            time.strftime("%H%M%S").lstrip("0") or "0" if compact == "bare" else time.strftime(compact)
            for time in times
        ]
        cells = [[_day(time, day), clock] for time, clock in zip(times, clocks, strict=True)]
        return f"{day} | {compact}", ["Date", "Time"], cells, times
    clock = choose.choice(CLOCKS)
    cells = [
        [_day(time, day) + (time.strftime(clock) if clock != " zone" else time.strftime(" %H:%M:%S Asia/Tokyo"))]
        for time in times
    ]
    zone = {"T%H:%M:%SZ": "UTC", " %H:%M:%S+08:00": "Etc/GMT-8", " zone": "Asia/Tokyo"}.get(clock)
    return day + clock, [], cells, times if zone is None else times.tz_localize(zone).tz_convert("UTC")


def _day(time: pd.Timestamp, form: str) -> str:
    if form == "roc":
        return f"{time.year - 1911}/{time.month:02d}/{time.day:02d}"
    if form == "weekday":
        return f"{time:%Y-%m-%d},{'一二三四五六日'[time.dayofweek]}"
    return time.strftime(form)


def _number(value: float, digits: int, decimal: str, thousands: str) -> str:
    text = f"{value:,.{digits}f}"
    return text.replace(",", "\0").replace(".", decimal).replace("\0", thousands)


def _write(choose: Random, header: list[str], body: list[list[str]], delimiter: str) -> str:
    out = io.StringIO()
    if header and choose.random() < 0.15:
        out.write("ACME Corp - export\n")
    writer = csv.writer(out, delimiter=delimiter, lineterminator=choose.choice(("\n", "\r\n")))
    if header:
        writer.writerow(header)
    writer.writerows(body)
    if header and choose.random() < 0.1:
        out.write("Source: ACME\n")
    return out.getvalue()
