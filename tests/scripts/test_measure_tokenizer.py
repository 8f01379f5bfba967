"""scripts/measure_tokenizer.py: errors of a candle's parts in units of their own variation."""

from importlib import resources

import numpy as np
import pytest
from scripts.measure_tokenizer import HISTORY, PARTS, error_of, parts_of

from kronos import KronosTokenizer, read_candles
from networks import random_tokenizer
from scripts import measure_tokenizer

SAMPLE = read_candles(str(resources.files("kronos.samples") / "simulated_btc_1h.csv"), timezone="UTC")


@pytest.fixture(scope="module")
def candles():
    return SAMPLE.frame[["open", "high", "low", "close", "volume", "amount"]].to_numpy(dtype=np.float64)


def test_errors_of_the_bundled_tokenizer_are_small_and_those_of_a_random_one_are_not(candles):
    errors = [
        np.abs([error_of(tokenizer, candles[first : first + HISTORY + 1]) for first in range(20)])
        for tokenizer in (KronosTokenizer.from_pretrained("kronos-tokenizer-nano"), random_tokenizer(1))
    ]
    constructed, untrained = (np.median(own, axis=0) for own in errors)
    assert constructed[PARTS.index("return")] < 0.05
    gap = PARTS.index("opening gap")
    assert np.isnan(constructed[gap]), "the sample has no gaps, so their variation is no unit"
    assert (np.delete(constructed, gap) < 0.2).all()
    assert (np.delete(untrained, gap) > np.delete(constructed, gap)).all()


def test_parts_add_up(candles):
    parts = dict(zip(PARTS, parts_of(candles).T, strict=True))
    body = np.abs(parts["return"] - parts["opening gap"])
    np.testing.assert_allclose(parts["range"], body + parts["upper wick"] + parts["lower wick"], atol=1e-12)
    np.testing.assert_allclose(parts["log volume"], np.log(candles[1:, 4]))


def test_prices_and_units_do_not_matter(candles):
    tokenizer = KronosTokenizer.from_pretrained("kronos-tokenizer-nano")
    window = candles[: HISTORY + 1]
    other = error_of(tokenizer, window * [7, 7, 7, 7, 1000, 7000])
    np.testing.assert_allclose(error_of(tokenizer, window), other, atol=1e-3)


def test_the_command_prints_a_row_of_each_market(tmp_path, capsys):
    (tmp_path / "crypto").mkdir()
    SAMPLE.frame.rename_axis("timestamps").to_csv(tmp_path / "crypto" / "btc_1h.csv")
    measure_tokenizer.main(["--data", str(tmp_path), "--windows", "3"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("| median error (90 % quantile) | windows | return |")
    assert [line.split("|")[1:3] for line in lines[2:]] == [[" all ", " 3 "], [" crypto 1h ", " 3 "]]
