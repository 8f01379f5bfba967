"""Files rebuilt from situations that users report in public: each gives the right candles, or the right refusal."""

from pathlib import Path

import pandas as pd
import pytest

from kronos.candles import Candles, ReadOptions, read_candles, read_many
from kronos.candles.io import load_candles
from kronos.errors import DataError

NOW = pd.Timestamp("2026-11-28")
# Rows, interval, first time, first open, last volume (None: not looked at).
READ = {
    "alpha_vantage_numbered.csv": (120, "1d", "2024-01-02", 50.01009597378518, 254248),
    "daily_local_midnight_offsets.csv": (120, "1d", "2024-02-01", 300.9157573558677, 63038),
    "day_first_ambiguous.csv": (120, "1h", "2024-05-06", 1.09973, 1200.5),
    "decimal_comma_quoted.csv": (90, "1d", "2024-01-02", 148.06, None),
    "decimal_comma_two_digits_tab.txt": (90, "1d", "2024-01-02", 148.06, None),
    "decimal_comma_unquoted.csv": (90, "1d", "2024-01-02", 148.06, 100),
    "dukascopy_eet.csv": (120, "1h", "2024-05-06", 1.09973, 1200.5),
    "forexite_dtyyyymmdd.txt": (120, "1m", "2024-05-06 00:01", 1.1, 4),
    "freqtrade_lists.json": (100, "1h", "2024-01-01", 59921.8971564487, 165525),
    "headerless_8_columns.csv": (120, "1h", "2024-05-06", 2999.05, 12.2583),
    "headerless_9_columns.csv": (120, "1h", "2024-05-06", 2999.05, 12.2583),
    "headerless_adj_close.csv": (200, "1d", "2024-01-02", 449.95, 79786),
    "headerless_compact_clock_1h.csv": (574, "1h", "2026-06-01 09:30", 449.81, 91549),
    "headerless_lhoc_epoch.csv": (120, "1h", "2024-03-01", 40007.1, 89.183),
    "headerless_ochl_epoch.csv": (120, "1h", "2024-03-01", 40007.1, 89.183),
    "headerless_symbol_first.csv": (120, "1d", "2024-01-02", 2999.05, 122583),
    "headers_de.csv": (120, "1d", "2024-01-02", 49.97, 120412),
    "headers_jp.csv": (120, "1d", "2024-01-02", 49.97, 120412),
    "headers_kr.csv": (120, "1d", "2024-01-02", 49.97, 120412),
    "ibkr_zone_names.csv": (78, "5m", "2024-06-03 09:30", 180.04, None),
    "idle_minutes_nan.csv": (458, "1m", "2019-05-01", 8998.993368779147, 190368),
    "intraday_offsets_dst.csv": (105, "1h", None, 179.97, 217010),
    "lines.jsonl": (100, "1h", "2024-01-01", 59921.8971564487, 165525),
    "live_row_off_grid.csv": (100, "1h", "2026-11-01", 59995.64600704551, 150439),
    "midnight_as_zero.csv": (120, "30m", "2024-05-06 21:00", 90.0, 93086),
    "months_yyyymm.csv": (120, "1mo", "2016-01-01", 49.790812098168, 78257),
    "multiindex_symbol_time.parquet": (100, "1h", "2024-01-01", 59921.8971564487, 165525),
    "polygon_t.csv": (120, "1m", "2024-05-06 13:30", 179.98019430578526, 317433),
    "prices_lakh.csv": (120, "1d", "2024-01-02", 99852.85, None),
    "records.json": (100, "1h", "2024-01-01", 59921.8971564487, 165525),
    "roc_years.csv": (120, "1d", "2024-01-02", 99.98911826041065, 131900),
    "semicolon_us_thousands.csv": (120, "1d", "2024-01-02", 999.22, 341106),
    "sep_line.csv": (120, "1d", "2024-01-02", 100.05876651583814, 265555),
    "tdx_daily.txt": (120, "1d", "2024-01-02", 12.01, 235445),
    "thousand_dots_volume.csv": (120, "1d", "2024-01-02", 14.05, 5916),
    "ths_amount.txt": (120, "1d", "2024-01-02", 11.98, 104100),
    "ths_weekday.txt": (120, "1d", "2024-01-02", 11.98, 104082),
    "title_line.csv": (120, "1d", "2024-01-02", 100.05876651583814, 265555),
    "trailing_commas.csv": (120, "1d", "2024-01-02", 100.05876651583814, 265555),
    "turnover_is_a_rate.csv": (120, "1d", "2024-01-02", 7.9950489148316946, 7835000),
    "two_digit_years_1970.csv": (2869, "1d", "1970-01-02", 89.72, 131743),
    "two_digit_years_us.csv": (120, "1d", "2024-01-02", 59.92, None),
    "units_in_brackets_cn.csv": (120, "1d", "2024-01-02", 12.02, 108856),
    "units_in_brackets_usd.csv": (120, "1d", "2024-01-02", 12.02, 108856),
    "unnamed_index.parquet": (100, "1h", "2024-01-01", 59921.8971564487, 165525),
    "us_130m.csv": (192, "130m", "2026-08-03 09:30", 99.96137564899132, 134336),
    "us_stock_epoch_30m.csv": (559, "30m", None, 179.99471169106005, 210766),
    "utf16le_without_bom.csv": (120, "1d", "2024-01-02", 100.05876651583814, 265555),
    "volume_T.csv": (120, "1d", "2024-01-02", 99.85, None),
    "volume_dots.csv": (120, "1d", "2024-01-02", 99.85, 103615),
    "volume_in_brackets_btc.csv": (600, "1m", "2019-05-01", 8998.993368779147, 190368),
    "volume_lakh.csv": (120, "1d", "2024-01-02", 99.85, 103615),
    "volume_swiss.csv": (120, "1d", "2024-01-02", 99.85, 103615),
    "volume_wan_shou.csv": (120, "1d", "2024-01-02", 99.85, 103600),
    "yf_ticker_row_first.csv": (120, "1d", "2024-01-02", 179.6327716723087, 224311),
    "zone_abbreviation.csv": (120, "1d", "2024-01-02 16:00", 99.85, None),
}  # fmt: skip
FINDINGS = {
    "intraday_offsets_dst.csv": ("several-offsets", "America/New_York"),
    "headerless_lhoc_epoch.csv": ("no-header", "low, high, open, close"),
    "headerless_ochl_epoch.csv": ("no-header", "open, close, high, low"),
    "idle_minutes_nan.csv": ("idle-row", "142"),
    "live_row_off_grid.csv": ("forming-candle", "03:17:23"),
    "semicolon_us_thousands.csv": ("number-notation", "thousands comma"),
    "thousand_dots_volume.csv": ("number-notation", "decimal comma"),
    "turnover_is_a_rate.csv": ("not-an-amount", "turnover"),
    "two_digit_years_1970.csv": ("two-digit-years", "1970 to 1980"),
    "units_in_brackets_cn.csv": ("column-unit", "股"),
    "volume_T.csv": ("rounded-volume", "lost"),
    "volume_dots.csv": ("number-notation", "decimal='.'"),
    "volume_wan_shou.csv": ("column-unit", "手"),
    "roc_years.csv": ("roc-years", "Republic of China"),
    "tdx_daily.txt": ("footer", "1 line"),
}
REFUSED = {
    "adjusted_close_raw_ohl.csv": ("200 of 200 rows", "adjusted"),
    "decimal_comma_three_digits_tab.txt": ("decimal=','", "thousands=','"),
    "epoch_scientific.csv": ("1.71495E+12", "digits are lost"),
    "negative_forward_adjusted.csv": ("133 of 200 rows", "forward adjustment"),
}
DAILY_AND_CLEAN = (
    "eval_clean.csv", "eval_glitch.csv", "eval_split.csv", "flat_prices.csv", "flat_prices_eval.csv",
    "unadjusted_split.csv",
)  # fmt: skip


def read(shared: Path, name: str, **options: object) -> Candles:
    return load_candles(shared / "cases" / "files" / name, ReadOptions(now=NOW, **options))


@pytest.mark.parametrize("name", READ)
def test_the_candles_are_right(shared: Path, name: str) -> None:
    rows, interval, first, opened, volume = READ[name]
    candles = read(shared, name)
    assert (len(candles), str(candles.interval)) == (rows, interval)
    assert candles.frame["open"].iloc[0] == opened
    if first is not None:
        assert candles.start.tz_localize(None) == pd.Timestamp(first)
    if volume is not None:
        assert candles.frame["volume"].iloc[-1] == volume
    if name in FINDINGS:
        code, word = FINDINGS[name]
        assert any(finding.code == code and word in finding.message for finding in candles.findings)


@pytest.mark.parametrize("name", REFUSED)
def test_the_refusal_names_the_cause(shared: Path, name: str) -> None:
    with pytest.raises(DataError) as caught:
        read(shared, name)
    assert all(word in str(caught.value) for word in REFUSED[name])


@pytest.mark.parametrize("name", DAILY_AND_CLEAN)
def test_clean_files_have_no_warning(shared: Path, name: str) -> None:
    candles = read(shared, name)
    assert str(candles.interval) == "1d"
    assert not [finding for finding in candles.findings if finding.severity == "warning"]


def test_every_file_is_judged(shared: Path) -> None:
    found = {path.name for path in (shared / "cases" / "files").iterdir()}
    assert found - {*READ, *REFUSED, *DAILY_AND_CLEAN} == {"ashare_120m_close_stamped.csv"}


def test_two_hour_candles_with_a_lunch_break(shared: Path) -> None:
    candles = read(shared, "ashare_120m_close_stamped.csv", interval="2h")
    assert (len(candles), str(candles.interval)) == (206, "2h")
    assert candles.frame["volume"].iloc[-1] == 104554


@pytest.mark.parametrize(("decimal", "first"), [(",", 148.036), (".", 148036.0)])
def test_an_option_decides_the_notation(shared: Path, decimal: str, first: float) -> None:
    candles = read(shared, "decimal_comma_three_digits_tab.txt", decimal=decimal)
    assert candles.frame["open"].iloc[0] == first


def test_the_original_frames(shared: Path) -> None:
    expected = read(shared, "records.json").frame
    for name in ("multiindex_symbol_time.parquet", "unnamed_index.parquet"):
        frame = pd.read_parquet(shared / "cases" / "files" / name)
        candles = read_candles(frame)
        assert (candles.frame.to_numpy() == expected.to_numpy()).all()
    assert list(read_many(pd.read_parquet(shared / "cases" / "files" / "multiindex_symbol_time.parquet"))) == ["ZZZ"]
