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

import math
from dataclasses import dataclass

import numpy as np
import torch

from kronos.errors import ParameterError
from kronos.nn import KronosTokenizer
from kronos.nn.layers import TransformerBlock
from kronos.normalisation import CLOSE, HIGH, LOW, NO_VOLUME, OPEN, VOLUME
from kronos.training.scalar_quantizer import CONSTANT, FeedForwardWriter, gray_signs, multiple_of_eight
from kronos.typing import FloatArray

# Rows of the residual stream: one for each encoded column, the constant 1 for thresholds, the bits.
COLUMN_ORDER = (CLOSE, OPEN, HIGH, LOW, VOLUME)  # order of their bits
ONE = len(COLUMN_ORDER)
BITS = ONE + 1


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
    bits = code.s1_bits + code.s2_bits
    cells = sum(2**grid.bits for grid in code.grids)
    network = KronosTokenizer(
        d_in=6,
        d_model=multiple_of_eight(BITS + bits),
        n_heads=4,
        ff_dim=multiple_of_eight(cells),
        n_enc_layers=2,
        n_dec_layers=2,
        ffn_dropout_p=0.0,
        attn_dropout_p=0.0,
        resid_dropout_p=0.0,
        s1_bits=code.s1_bits,
        s2_bits=code.s2_bits,
        beta=0.05,
        gamma0=1.0,
        gamma=1.1,
        zeta=0.05,
        group_size=4,
        normalisation="changes",
    )
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        for block in (*network.encoder, *network.decoder):
            assert isinstance(block, TransformerBlock)
            block.norm1.weight.fill_(1.0)
            block.norm2.weight.fill_(1.0)
        _write_encoder(network, code)
        _write_decoder(network, code)
    return network.eval()


def _write_encoder(network: KronosTokenizer, code: ChangeCode) -> None:
    """Columns to bits."""
    for row, column in enumerate(COLUMN_ORDER):
        network.embed.weight[row, column] = 1.0
    network.embed.bias[ONE] = CONSTANT
    lines = FeedForwardWriter(network.encoder[0])
    first = 0
    for row, grid in enumerate(code.grids):
        values, signs = grid.values, gray_signs(grid.bits)
        slopes = np.diff(signs, axis=0) / np.diff(values)[:, None]  # [cells - 1, bits]
        names = range(first, first + grid.bits)
        lines.line(row, {BITS + name: slope for name, slope in zip(names, slopes[0], strict=True)})
        for value, bends in zip(values[1:-1], np.diff(slopes, axis=0), strict=True):
            lines.kink(row, 1.0, value, {BITS + name: bend for name, bend in zip(names, bends, strict=True) if bend})
        for name, sign, slope in zip(names, signs[0], slopes[0], strict=True):
            network.quant_embed.weight[name, BITS + name] = 1.0
            network.quant_embed.bias[name] = float(sign - slope * values[0])
        first += grid.bits


def _write_decoder(network: KronosTokenizer, code: ChangeCode) -> None:
    """Bits to grid values."""
    bits = code.s1_bits + code.s2_bits
    for layer, known in ((network.post_quant_embed, bits), (network.post_quant_embed_pre, code.s1_bits)):
        for name in range(known):
            layer.weight[BITS + name, name] = math.sqrt(bits)
        layer.bias[ONE] = CONSTANT
    table = FeedForwardWriter(network.decoder[0])
    first = 0
    for row, grid in enumerate(code.grids):
        for signs, value in zip(gray_signs(grid.bits), grid.values, strict=True):
            table.match({BITS + first + i: float(sign) for i, sign in enumerate(signs)}, {row: float(value)})
        first += grid.bits
    for row, column in enumerate(COLUMN_ORDER):
        network.head.weight[column, row] = 1.0
