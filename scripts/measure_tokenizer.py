"""Measure what a tokenizer loses of each part of a candle, for the model card.

    python scripts/measure_tokenizer.py --data DIR --tokenizer kronos-tokenizer-nano

The candle after a history is encoded and decoded with the history's statistics, as the first candle of a forecast. Its
errors are in units of the part's own variation: the root mean square change from one candle to the next within the
history. An error of 1 loses as much as repeating the candle before would.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from kronos import KronosTokenizer
from kronos.candles import COLUMNS
from kronos.errors import KronosError
from kronos.evaluation import Instrument, load_instruments
from kronos.metrics.candle_scores import candle_quantities, log_volume
from kronos.normalisation import normalise
from kronos.typing import FloatArray

sys.path.insert(0, str(Path(__file__).resolve().parent))
from quality_tables import markdown

HISTORY = 232
PARTS = ("return", "opening gap", "upper wick", "lower wick", "range", "log volume", "log amount")


def parts_of(candles: FloatArray) -> FloatArray:
    """The parts of all candles ``[T, 6]`` but the first, in logarithms ``[T - 1, 7]``; NaN without volume."""
    found = candle_quantities(candles[1:], candles[0, 3])
    opens, highs, lows, closes = np.log(candles[1:, :4]).T
    columns = (
        np.diff(np.log(candles[:, 3])),
        found.gap,
        highs - np.maximum(opens, closes),
        np.minimum(opens, closes) - lows,
        found.range,
        found.volume,
        log_volume(candles[1:, 5]),
    )
    return np.column_stack(columns)


def error_of(tokenizer: KronosTokenizer, candles: FloatArray) -> FloatArray:
    """Errors of the last of some candles ``[T, 6]`` in units of each part's variation ``[7]``; NaN without one."""
    history = candles[:-1]
    known, scaler = normalise(history, 5, normalisation=tokenizer.normalisation)
    x = np.concatenate((known, np.clip(scaler.transform(candles)[-1:], -5, 5).astype(np.float32)))
    with torch.no_grad():
        decoded = tokenizer.decode(tokenizer.encode(torch.tensor(x)[None], half=True), half=True)[0, -1:].numpy()
    restored = scaler.inverse_transform(decoded[None])[0]
    actual, near = parts_of(candles), parts_of(np.concatenate((history[-1:], restored)))
    change = np.diff(actual[:-1], axis=0)
    counts = np.isfinite(change).sum(axis=0)
    variation = np.sqrt(np.nansum(np.square(change), axis=0) / np.maximum(counts, 1))
    found: FloatArray = np.full(len(PARTS), np.nan)
    np.divide(near[0] - actual[-1], variation, out=found, where=variation > 1e-12)
    return found


def errors(tokenizer: KronosTokenizer, instruments: Sequence[Instrument], windows: int, seed: int) -> pd.DataFrame:
    """Errors of some random windows of each series, with the column ``group``."""
    rng = np.random.default_rng(seed)
    rows = []
    for one in instruments:
        values = one.candles.frame[list(COLUMNS)].to_numpy(dtype=np.float64)
        if len(values) <= HISTORY:
            continue
        for last in rng.integers(HISTORY, len(values), windows):
            part = values[last - HISTORY : last + 1]
            if (part[:, :4] > 0).all():
                rows.append({"group": one.group, **dict(zip(PARTS, error_of(tokenizer, part), strict=True))})
    return pd.DataFrame(rows, columns=["group", *PARTS])


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, action="append", required=True, metavar="DIR", help="candles")
    parser.add_argument("--tokenizer", default="kronos-tokenizer-nano", help="zoo name, hub id or folder")
    parser.add_argument("--windows", type=int, default=5, help="of each series")
    options = parser.parse_args(arguments)
    tokenizer = KronosTokenizer.from_pretrained(options.tokenizer)
    found = errors(tokenizer, load_instruments(options.data).instruments, options.windows, seed=1)
    names = [group for group, own in found.groupby("group") if len(own) >= options.windows]
    rows = []
    for name, own in [("all", found), *((name, found[found["group"] == name]) for name in names)]:
        values = own[list(PARTS)].abs()
        cells = [
            "–" if values[part].isna().all() else f"{values[part].median():.3f} ({values[part].quantile(0.9):.2f})"
            for part in PARTS
        ]
        rows.append([str(name), f"{len(own):,}", *cells])
    print(markdown(["median error (90 % quantile)", "windows", *PARTS], rows), end="")


if __name__ == "__main__":
    try:
        main()
    except KronosError as error:
        raise SystemExit(str(error)) from error
