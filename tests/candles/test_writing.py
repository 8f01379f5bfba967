"""Candles written to a file and read back: the same, labelled, or refused."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kronos.candles import Candles, read_candles, write_candles
from kronos.errors import ParameterError, StorageError

ENDINGS = pytest.mark.parametrize("ending", ["csv", "parquet", "feather"])


def candles(rows=30, zone="UTC", seed=0, **changes):
    rng = np.random.default_rng(seed)
    prices = np.sort(rng.lognormal(0, 3, (rows, 4)), axis=1)[:, [1, 3, 0, 2]]
    table = pd.DataFrame(prices, columns=["open", "high", "low", "close"])
    table.index = pd.date_range("2024-03-01", periods=rows, freq="h", tz=zone)
    table["volume"] = rng.lognormal(0, 5, rows)
    table["amount"] = rng.lognormal(3, 5, rows)
    return replace(Candles.from_frame(table, interval="1h"), **changes)


@ENDINGS
@given(seed=st.integers(0, 1_000), rows=st.integers(2, 40), zone=st.sampled_from([None, "UTC", "Asia/Shanghai"]))
def test_what_is_written_is_read_bit_for_bit(tmp_path_factory, ending, seed, rows, zone):
    path = tmp_path_factory.mktemp("files") / f"coin_1h.{ending}"
    one = candles(rows, zone, seed)
    write_candles(one, path)
    again = read_candles(path, interval="1h", timezone=one.timezone)
    np.testing.assert_array_equal(again.frame.to_numpy(), one.frame.to_numpy())
    assert (again.index == one.index).all()
    assert (again.timezone, again.has_amount, again.simulated) == (one.timezone, True, False)


@ENDINGS
def test_what_the_source_did_not_tell_is_not_written(tmp_path, ending):
    path = write_candles(candles(has_amount=False), tmp_path / f"a_1h.{ending}")
    assert not read_candles(path).has_amount
    path = write_candles(candles(has_volume=False, has_amount=False), tmp_path / f"b_1h.{ending}")
    assert not read_candles(path).has_volume


@ENDINGS
def test_simulated_candles_keep_their_label(tmp_path, ending):
    simulated = candles(simulated=True)
    with pytest.raises(ParameterError, match="call it simulated_coin"):
        write_candles(simulated, tmp_path / f"coin.{ending}")
    path = write_candles(simulated, tmp_path / f"simulated_coin.{ending}")
    assert read_candles(path).simulated
    renamed = path.rename(tmp_path / f"real.{ending}")
    assert read_candles(renamed).simulated == (ending != "csv")


def test_other_endings_are_refused(tmp_path):
    with pytest.raises(ParameterError, match=r"not to 'coin\.xlsx'"):
        write_candles(candles(), tmp_path / "coin.xlsx")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        write_candles(candles(), tmp_path / "file" / "coin.csv")


def test_a_home_is_meant_by_its_sign_and_that_of_nobody_is_a_name(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert write_candles(candles(), "~/a.csv") == tmp_path / "a.csv"
    write_candles(candles(), "~nobody-of-that-name/a.csv")
    assert (tmp_path / "~nobody-of-that-name" / "a.csv").is_file()
