"""Volume and amount checked against each other: an amount is about volume × price, in some unit.

The check finds what a name does not say: a turnover that is a rate, and volumes of both currencies in the other order.
"""

from __future__ import annotations

import numpy as np

from kronos.candles.columns import normalize_label
from kronos.candles.findings import FindingCollector
from kronos.candles.readers import RawTable
from kronos.errors import DataError
from kronos.formatting import Message, truncate
from kronos.typing import FloatArray

_MIN_ROWS = 20
_RATE, _UNIT = 1e-6, 1e6  # amount / (volume × price): below and above no unit explains it
_SAME = (0.5, 2.0)
_CLOSE, _VOLUME, _AMOUNT = 3, 4, 5


def check_amounts(values: FloatArray, table: RawTable, findings: FindingCollector) -> bool:
    """Check the amount; exchange it with the volume, or discard it, if it cannot be one.

    Args:
        values: Columns open, high, low, close, volume, amount; changed in place. [n, 6]
        table: The source.
        findings: Findings to add to.

    Returns:
        Whether there is an amount.

    Raises:
        DataError: If a column called volume is neither the volume nor the amount.
    """
    # A volume without amount is valued at the price later, and an amount without volume is ignored.
    labels = table.layout.prices
    if "amount" not in labels or "volume" not in labels:
        return False
    close, volume, amount = (values[:, i] for i in (_CLOSE, _VOLUME, _AMOUNT))
    known = (close > 0) & (volume > 0) & (amount > 0)
    if known.sum() < _MIN_ROWS:
        return True
    price = close[known]
    ratio = float(np.median(amount[known] / (volume[known] * price)))
    exchanged = float(np.median(volume[known] / (amount[known] * price)))
    both = f"'{truncate(labels['volume'])}' and '{truncate(labels['amount'])}'"
    if not {"volume", "amount"} & table.layout.given and _SAME[0] < exchanged < _SAME[1] and not 1e-3 < ratio < 1e3:
        values[:, [_VOLUME, _AMOUNT]] = values[:, [_AMOUNT, _VOLUME]]
        message = Message(
            "exchanged-volume",
            "Columns {columns} of {name} were read as amount and volume, since the former is price × the latter.",
            columns=both,
            name=table.rows.name,
        )
        findings.add("amount-and-volume", "info", message)
        return True
    if normalize_label(labels["amount"]) in ("volume", "volumi", "volumen") and not 0.2 < ratio < 5:
        raise DataError(
            Message(
                "unclear-volume",
                "Neither of the columns {columns} of {name} is the value of the other, so which is the "
                "volume is not clear: name it with columns={'volume': '…'}.",
                columns=both,
                name=table.rows.name,
            )
        )
    if ratio < _RATE or ratio > _UNIT:
        kind = "a rate" if float(np.median(amount[known])) < 100 else "something else"
        message = Message(
            "not-an-amount",
            "Column '{column}' of {name} is not an amount but {what}: it is far from volume × price and was ignored.",
            column=truncate(labels["amount"]),
            name=table.rows.name,
            what=kind,
        )
        findings.add("not-an-amount", "warning", message)
        return False
    return True
