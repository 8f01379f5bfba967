"""Repairs of prices: high and low that are exchanged, and ranges that are too narrow; refused if they are many."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kronos.candles.columns import PRICES
from kronos.candles.findings import FindingCollector
from kronos.errors import DataError
from kronos.formatting import Message
from kronos.typing import BoolArray, FloatArray, IntArray

MAX_REPAIRED = 0.05  # share of the rows
_MIN_ROWS = 20  # that continuity is judged by
_CONTINUOUS, _MOST = 0.5, 0.6  # distance of the exchanged order as a share of the other, and share of rows with less
_ROUNDING = 1e-5  # relative: adjusted prices are rounded one by one


def repair_prices(frame: pd.DataFrame, positions: IntArray, findings: FindingCollector) -> None:
    """Exchange high and low if high is below low; widen the range to include open and close.

    Args:
        frame: The candles; its prices are changed.
        positions: Original position of each row. [n]
        findings: Findings to add to.

    Raises:
        DataError: If more than `MAX_REPAIRED` of the rows need it: then the columns are not what they seem.
    """
    prices = frame[list(PRICES)].to_numpy(copy=True)
    swapped = prices[:, 1] < prices[:, 2]
    original = prices.copy() if swapped.any() else prices
    if swapped.any():
        prices[swapped, 1], prices[swapped, 2] = original[swapped, 2], original[swapped, 1]
    high, low = prices.max(axis=1), prices.min(axis=1)
    widened = (high > prices[:, 1]) | (low < prices[:, 2])
    beyond = (high > prices[:, 1] * (1 + _ROUNDING)) | (low < prices[:, 2] * (1 - _ROUNDING))
    repaired = swapped | beyond
    if repaired.sum() > max(1, MAX_REPAIRED * len(prices)):
        raise DataError(_describe(original, repaired, positions, findings))
    prices[:, 1], prices[:, 2] = high, low
    if swapped.any():
        message = Message("high-below-low", "{count} row(s) had high below low; the two were swapped ({where}).")
        findings.add("high-below-low", "warning", message, positions[swapped])
    if widened.any():
        message = Message(
            "range-too-narrow",
            "{count} row(s) had open or close outside the range from low to high, which was widened ({where}).",
        )
        findings.add("range-too-narrow", "warning", message, positions[widened])
    if swapped.any() or widened.any():
        frame[list(PRICES)] = prices
    if np.ptp(prices) == 0:
        message = Message(
            "constant-prices",
            "All prices of {name} are equal, so forecasts of it have no meaning.",
            name=findings.rows.name,
        )
        findings.add("constant-prices", "warning", message)


def check_continuity(frame: pd.DataFrame, findings: FindingCollector) -> None:
    """Warn if closes continue the next opens instead of opens the closes before: the two may be exchanged.

    Args:
        frame: The candles.
        findings: Findings to add to.
    """
    opens, closes = frame["open"].to_numpy(), frame["close"].to_numpy()
    if len(frame) < _MIN_ROWS:
        return
    named, exchanged = np.abs(np.log(opens[1:] / closes[:-1])), np.abs(np.log(closes[1:] / opens[:-1]))
    if not np.median(exchanged) < _CONTINUOUS * np.median(named) or np.mean(exchanged < named) < _MOST:
        return
    message = Message(
        "open-and-close",
        "Each close of {name} is near the open before it, but not each open near the close "
        "before: open and close may be exchanged, or the times reversed. If so, name the columns "
        "with columns={'open': '…'}.",
        name=findings.rows.name,
    )
    findings.add("open-and-close", "warning", message)


def _describe(prices: FloatArray, repaired: BoolArray, positions: IntArray, findings: FindingCollector) -> str:
    """The refusal, with the likely cause."""
    o, h, lo, c = prices.T
    share = np.mean
    if share(h < lo) > 0.5:
        cause = "high and low seem to be exchanged, so the columns may be in another order"
    elif _is_shifted(c, prices[:, :3]):
        cause = "the close seems to be adjusted for dividends or splits beside raw prices"
    elif _is_shifted(o, prices[:, 1:]):
        cause = "the open is in another scale than the other prices"
    else:
        cause = "the columns may be in another order, or their numbers in different notations"
    rows = findings.rows
    return Message(
        "inconsistent-prices",
        "{count} of {total} rows of {name} have open or close outside the range from low to high, "
        "or high below low, above the limit of {limit}; the first is {word} {row}. Likely cause: "
        "{cause}. Correct the source, or name the columns with columns={'close': '…'}.",
        count=int(repaired.sum()),
        total=len(prices),
        name=rows.name,
        limit=f"{MAX_REPAIRED:.0%}",
        word=rows.word,
        row=rows.number(int(positions[int(repaired.argmax())])),
        cause=cause,
    )


def _is_shifted(column: FloatArray, others: FloatArray) -> bool:
    """Whether a price lies outside the range of the other three, which agree, in most rows and on one side."""
    below, above = column < others.min(axis=1), column > others.max(axis=1)
    return float(np.mean(below)) > 0.5 or float(np.mean(above)) > 0.5
