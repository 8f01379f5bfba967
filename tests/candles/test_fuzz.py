"""Any bytes and frames give either valid candles or one sentence, never another exception."""

import gzip
import io
import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kronos.calendars import future_times
from kronos.candles import COLUMNS, Candles, read_candles, read_many
from kronos.errors import KronosError

SECONDS = float(os.environ.get("KRONOS_FUZZ_SECONDS", "0"))
BOUNDED = settings(
    # About ten examples per second in each of the four tests; `KRONOS_FUZZ_SECONDS` sets the total duration.
    max_examples=max(40, int(10 * SECONDS)),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
CELLS = st.one_of(
    st.sampled_from(
        ["", "nan", "inf", "-1", "0", "1e308", "1,234.5", "2024-01-02", "02/03/2024", "24:61", "20240102", "1704067200",
         "1704067200000", "1704067200000000000", "2024-01-02T09:30:00+08:00", "9999-12-31", "x", "成交",
         '"', "1.5", "45293", "{count}", "}"]
    ),
    st.text(max_size=8),
    st.floats(width=32).map(str),
    st.integers(-(2**70), 2**70).map(str),
)  # fmt: skip
pytestmark = pytest.mark.timeout(0 if SECONDS else 300)
NAMES = st.sampled_from(
    [
        "timestamps",
        "Date",
        "time",
        "open",
        "High",
        "low",
        "close",
        "VOL",
        "amount",
        "symbol",
        "开盘",
        "o",
        "",
        "unnamed: 0",
    ]
)


def sample(rows: int = 30) -> pd.DataFrame:
    rng = np.random.default_rng(rows)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, rows)))
    return pd.DataFrame(
        {
            "timestamps": pd.date_range("2024-01-01", periods=rows, freq="h"),
            "open": close, "high": close * 1.01, "low": close * 0.99, "close": close,
            "volume": np.arange(rows, dtype=float), "amount": close,
        }
    )  # fmt: skip


def serialised(suffix: str) -> bytes:
    buffer = io.BytesIO()
    if suffix == ".parquet":
        sample().to_parquet(buffer)
    elif suffix == ".feather":
        sample().to_feather(buffer)
    elif suffix == ".gz":
        return gzip.compress(sample().to_csv(index=False).encode())
    elif suffix == ".zip":
        sample().to_csv(buffer, index=False, compression={"method": "zip", "archive_name": "a.csv"})
    else:
        return sample().to_csv(index=False).encode()
    return buffer.getvalue()


ORIGINALS = {suffix: serialised(suffix) for suffix in (".csv", ".parquet", ".feather", ".gz", ".zip")}


def check_valid(candles: Candles) -> None:
    frame = candles.frame
    assert tuple(frame.columns) == COLUMNS
    assert len(frame) >= 2
    assert np.isfinite(frame.to_numpy()).all()
    assert (frame[["open", "high", "low", "close"]] > 0).all().all()
    assert (frame["low"] <= frame[["open", "close"]].min(axis=1)).all()
    assert (frame["high"] >= frame[["open", "close"]].max(axis=1)).all()
    assert (frame[["volume", "amount"]] >= 0).all().all()
    assert candles.index.is_monotonic_increasing
    assert candles.index.is_unique
    times = future_times(candles.index, candles.interval, 5).times
    assert len(times) == 5
    assert times[0] > candles.end


def check_sentence(message: str) -> None:
    assert message.endswith((".", "?"))
    assert "\n" not in message
    assert "Traceback" not in message


def try_source(source: Path | pd.DataFrame, **options: object) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for read in (read_candles, read_many):
            try:
                result = read(source, **options)
                for candles in result.values() if isinstance(result, dict) else [result]:
                    check_valid(candles)
            except KronosError as error:
                check_sentence(str(error))


@BOUNDED
@given(
    data=st.binary(max_size=400),
    suffix=st.sampled_from([".csv", ".parquet", ".feather", ".gz", ".zip", ""]),
    magic=st.sampled_from([b"", b"PAR1", b"ARROW1", b"FEA1", b"PK\x03\x04", b"\x1f\x8b\x08", b"\xff\xfe", b"\x80\x04"]),
)
def test_random_bytes(tmp_path: Path, data: bytes, suffix: str, magic: bytes) -> None:
    path = tmp_path / f"random{suffix}"
    path.write_bytes(magic + data)
    try_source(path)


def mutate(data: bytes, edits: list[tuple[float, int, int]], cut: float) -> bytes:
    out = bytearray(data)
    for where, kind, value in edits:
        at = int(where * (len(out) - 1)) if out else 0
        if kind == 0 and out:
            out[at] = value
        elif kind == 1:
            out[at:at] = bytes([value])
        elif kind == 2:
            del out[at : at + 1 + value % 5]
        elif kind == 3:
            out[at:at] = out[at : at + value]
    return bytes(out[: int(len(out) * cut)]) if cut < 0.95 else bytes(out)


EDITS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 3), st.integers(0, 255)), min_size=1, max_size=6)


@BOUNDED
@given(suffix=st.sampled_from(sorted(ORIGINALS)), edits=EDITS, cut=st.floats(0.3, 2.0))
def test_mutated_files(tmp_path: Path, suffix: str, edits: list[tuple[float, int, int]], cut: float) -> None:
    path = tmp_path / f"mutated{suffix}"
    path.write_bytes(mutate(ORIGINALS[suffix], edits, cut))
    try_source(path)


@BOUNDED
@given(
    rows=st.lists(st.lists(CELLS, min_size=1, max_size=8), max_size=12),
    header=st.one_of(
        st.lists(NAMES, max_size=9), st.just(["date", "open", "high", "low", "close", "volume"]),
        st.just(["date", "time", "open", "high", "low", "close"]),
    ),
    delimiter=st.sampled_from(",;\t|"), ending=st.sampled_from(["\n", "\r\n", "\r"]),
    codec=st.sampled_from(["utf-8", "utf-8-sig", "gb18030", "utf-16"]),
    timezone=st.sampled_from([None, "UTC", "America/New_York"]),
)  # fmt: skip
def test_random_tables(tmp_path, rows, header, delimiter, ending, codec, timezone) -> None:
    lines = [delimiter.join(header), *(delimiter.join(row) for row in rows)]
    path = tmp_path / "table.csv"
    path.write_bytes(ending.join(lines).encode(codec, errors="replace"))
    try_source(path, timezone=timezone)


COLUMN_VALUES = st.one_of(
    st.lists(st.floats(), min_size=4, max_size=12),
    st.lists(st.integers(-(2**62), 2**62), min_size=4, max_size=12),
    st.lists(st.floats(0.5, 2), min_size=4, max_size=12),
    st.lists(st.datetimes(), min_size=4, max_size=12),
    st.lists(st.one_of(st.none(), st.booleans(), st.text(max_size=5), st.dates(), st.floats(), CELLS),
    min_size=4, max_size=12), st.lists(st.timedeltas(), min_size=4, max_size=12), st.integers(4,
    12).map(lambda n: pd.date_range("2024-03-08", periods=n, freq="6h", tz="America/New_York")),
    st.integers(4, 12).map(lambda n: 1704067200 + 3600 * np.arange(n, dtype=np.uint64)), st.integers(4,
    12).map(lambda n: pd.Categorical(list("abcdefghijklmnop")[:n])), st.integers(4, 12).map(lambda n:
    np.arange(n) * 1j),
)  # fmt: skip


@BOUNDED
@given(
    columns=st.lists(st.tuples(NAMES, COLUMN_VALUES), max_size=8),
    prices=st.booleans(),
    rows=st.integers(0, 12),
    as_index=st.booleans(),
    timezone=st.sampled_from([None, "UTC", "Europe/Berlin"]),
)
def test_random_frames(columns, prices, rows, as_index, timezone) -> None:
    data = dict(columns)
    if prices:
        for name in ("open", "High", "low", "close"):
            data[name] = np.linspace(1, 2, 12)
    length = min([rows or 12, *(len(v) for v in data.values())])
    try:
        frame = pd.DataFrame({name: pd.Series(values[:length]) for name, values in data.items()})
    except (ValueError, OverflowError, TypeError):
        return  # not a valid frame
    if as_index and len(frame.columns):
        frame = frame.set_index(frame.columns[0])
    try_source(frame, timezone=timezone)
