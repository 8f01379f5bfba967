"""A constructed tokenizer for candles normalised as ``changes``: return, opening gap, wicks and volume.

Like `kronos.training.scalar_quantizer`, whose building blocks it uses, it needs no training. `kronos.normalisation` has
already taken a candle apart and compressed its parts so that evenly spaced values matter about equally. One even grid
for each part then fits all markets:

- The encoder computes, for every bit, a piecewise linear function that crosses 0 wherever the bit changes.
- Bits are in Gray code: neighbouring grid values differ in one bit, so a rounding error cannot move a value far.
- The decoder is a lookup table: one hidden unit per grid value, active only if its bits match.

s1 encodes return and opening gap, s2 wicks and volume, so the model's first distribution is that of the next close.
Attention is inactive (its output weights are 0), but further training can use it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from kronos.errors import ParameterError
from kronos.nn import KronosTokenizer
from kronos.normalisation import CLOSE, HIGH, LOW, NO_VOLUME, OPEN, VOLUME
from kronos.training.scalar_quantizer import (
    BITS,
    CONSTANT,
    ONE,
    FeedForwardWriter,
    gray_signs,
    read_bits,
    write_bits,
    zero_tokenizer,
)
from kronos.typing import FloatArray

# The first rows of the residual stream hold these columns; ONE and BITS follow, as in scalar_quantizer.
COLUMN_ORDER = (CLOSE, OPEN, HIGH, LOW, VOLUME)  # order of their bits


@dataclass(frozen=True, slots=True)
class EvenGrid:
    """Evenly spaced values of one normalised column of a candle.

    Attributes:
        bits: The grid has ``2^bits`` values.
        low: Lowest value.
        high: Highest value.
        with_zero: Whether 0 is a value. There is then one value fewer above it, and the highest is below ``high``.
        below: One more value below ``low``, such as that of a candle without trades; there is then one fewer above.

    Raises:
        ParameterError: If the values do not form a grid.
    """

    bits: int
    low: float
    high: float
    with_zero: bool = False
    below: float | None = None

    def __post_init__(self) -> None:
        if not (1 <= self.bits <= 12 and self.low < self.high):
            raise ParameterError(f"Invalid {self}: choose 1 to 12 bits, and low below high.")
        if self.with_zero and self.low != -self.high:
            raise ParameterError(f"Invalid {self}: with_zero needs low = -high.")
        if self.below is not None and (self.with_zero or self.below >= self.low or self.bits < 2):
            raise ParameterError(f"Invalid {self}: below needs 2 bits or more, a value under low, and no with_zero.")

    @property
    def values(self) -> FloatArray:
        """The values, ascending, ``[2^bits]``."""
        count = 2**self.bits
        if self.with_zero:
            return np.linspace(self.low, self.high, count + 1)[:-1]
        if self.below is not None:
            return np.concatenate(([self.below], np.linspace(self.low, self.high, count - 1)))
        return np.linspace(self.low, self.high, count)


@dataclass(frozen=True, slots=True)
class ChangeCode:
    """Meaning of the bits of a candle normalised as ``changes``.

    Attributes:
        change: The return: 0.05 volatilities between neighbours near 0, 0.4 at three volatilities. Token s1.
        gap: The opening gap: 0 and 0.15, 0.4, 1.1, 2.7, 6.8, 17 and 41 typical gaps up and down. Token s1.
        wick: The upper and the lower wick: 0 and 0.03 to 4 volatilities, each 2.2 times the one before. Token s2.
        volume: No trades, and ±2.94 standard deviations around the usual volume in steps of 0.42. Token s2.
    """

    change: EvenGrid = EvenGrid(6, -4.1, 4.1, with_zero=True)
    gap: EvenGrid = EvenGrid(4, -4.68, 4.68, with_zero=True)
    wick: EvenGrid = EvenGrid(3, 0.0, 4.48)
    volume: EvenGrid = EvenGrid(4, -2.94, 2.94, below=NO_VOLUME)

    @property
    def grids(self) -> tuple[EvenGrid, ...]:
        """Grids of return, gap, upper wick, lower wick and volume, in the order of their bits."""
        return self.change, self.gap, self.wick, self.wick, self.volume

    @property
    def s1_bits(self) -> int:
        """Bits of the coarse token."""
        return self.change.bits + self.gap.bits

    @property
    def s2_bits(self) -> int:
        """Bits of the fine token."""
        return sum(grid.bits for grid in self.grids[2:])


def change_tokenizer(code: ChangeCode = ChangeCode()) -> KronosTokenizer:
    """Construct a tokenizer whose weights implement a code.

    Args:
        code: Meaning of the bits.

    Returns:
        A tokenizer of the published architecture in evaluation mode, for candles normalised as ``changes``.
    """
    grids = code.grids
    network = zero_tokenizer([grid.bits for grid in grids], code.s1_bits, blocks=1, normalisation="changes")
    with torch.no_grad():
        for row, column in enumerate(COLUMN_ORDER):
            network.embed.weight[row, column] = 1.0
            network.head.weight[column, row] = 1.0
        network.embed.bias[ONE] = CONSTANT
        write_bits(network, [grid.values for grid in grids])
        read_bits(network)
        table = FeedForwardWriter(network.decoder[0])
        first = BITS
        for row, grid in enumerate(grids):
            for signs, value in zip(gray_signs(grid.bits), grid.values, strict=True):
                table.match({first + i: float(sign) for i, sign in enumerate(signs)}, {row: float(value)})
            first += grid.bits
    return network.eval()
