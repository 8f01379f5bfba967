"""A tokenizer with constructed weights instead of trained ones: every bit of a candle's code has a defined meaning.

With little training, a trained tokenizer uses most of its bits badly: after half an hour on a CPU, the first one of the
bundled model reconstructed one-step changes with an error of 0.44 one-step volatilities and used a tenth of its codes.
The blocks of the published architecture can represent an exact scalar quantiser, which needs no training.

Candles are normalised as ``changes``: `kronos.normalisation` has already taken a candle apart into return, opening gap,
wicks and volume, and compressed them so that evenly spaced values matter about equally. One even grid for each part
then fits all markets:

- The encoder computes, for every bit, a piecewise linear function that crosses 0 wherever the bit changes.
- Bits are in Gray code: neighbouring grid values differ in one bit, so a rounding error cannot move a value far.
- The decoder is a lookup table: one hidden unit per grid value, active only if its bits match.

s1 encodes return and opening gap, s2 wicks and volume, so the model's first distribution is that of the next close.
Attention is inactive (its output weights are 0), but further training can use it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from kronos.errors import ParameterError
from kronos.nn import KronosTokenizer
from kronos.nn.layers import FeedForward, TransformerBlock
from kronos.normalisation import CLOSE, HIGH, LOW, NO_VOLUME, OPEN, VOLUME
from kronos.typing import FloatArray

COLUMN_ORDER = (CLOSE, OPEN, HIGH, LOW, VOLUME)  # order of their bits
# Rows of the residual stream: the columns in that order, the constant 1 for thresholds, the bits.
ONE = len(COLUMN_ORDER)
BITS = ONE + 1
CONSTANT = 1000.0  # so large that the norm before a feed-forward layer hardly depends on the candle
SHARPNESS = 2000.0  # makes silu a kink at the scale of the finest cell


@dataclass(frozen=True, slots=True)
class Grid:
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
class ScalarCode:
    """Meaning of the bits of a candle normalised as ``changes``.

    Attributes:
        change: The return: 0.05 volatilities between neighbours near 0, 0.4 at three volatilities. Token s1.
        gap: The opening gap: 0 and 0.15, 0.4, 1.1, 2.7, 6.8, 17 and 41 typical gaps up and down. Token s1.
        wick: The upper and the lower wick: 0 and 0.03 to 4 volatilities, each 2.2 times the one before. Token s2.
        volume: No trades, and ±2.94 standard deviations around the usual volume in steps of 0.42. Token s2.
    """

    change: Grid = Grid(6, -4.1, 4.1, with_zero=True)
    gap: Grid = Grid(4, -4.68, 4.68, with_zero=True)
    wick: Grid = Grid(3, 0.0, 4.48)
    volume: Grid = Grid(4, -2.94, 2.94, below=NO_VOLUME)

    @property
    def grids(self) -> tuple[Grid, ...]:
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


def scalar_tokenizer(code: ScalarCode = ScalarCode()) -> KronosTokenizer:
    """Construct a tokenizer whose weights implement a code.

    Args:
        code: Meaning of the bits.

    Returns:
        A tokenizer of the published architecture in evaluation mode, for candles normalised as ``changes``.
    """
    grids = code.grids
    network = _zero_tokenizer([grid.bits for grid in grids], code.s1_bits)
    with torch.no_grad():
        for row, column in enumerate(COLUMN_ORDER):
            network.embed.weight[row, column] = 1.0
            network.head.weight[column, row] = 1.0
        network.embed.bias[ONE] = CONSTANT
        _write_bits(network, [grid.values for grid in grids])
        _read_bits(network)
        table = _FeedForwardWriter(network.decoder[0])
        first = BITS
        for row, grid in enumerate(grids):
            for signs, value in zip(gray_signs(grid.bits), grid.values, strict=True):
                table.match({first + i: float(sign) for i, sign in enumerate(signs)}, {row: float(value)})
            first += grid.bits
    return network.eval()


def _zero_tokenizer(bits: Sequence[int], s1_bits: int) -> KronosTokenizer:
    """Build a tokenizer whose weights are 0 but for its norms, large enough for a code.

    Args:
        bits: Bits of each encoded number.
        s1_bits: Bits of the coarse token; the others are those of the fine token.
    """
    network = KronosTokenizer(
        d_in=6,
        d_model=_multiple_of_eight(BITS + sum(bits)),
        n_heads=4,
        ff_dim=_multiple_of_eight(sum(2**own for own in bits)),
        n_enc_layers=2,
        n_dec_layers=2,
        ffn_dropout_p=0.0,
        attn_dropout_p=0.0,
        resid_dropout_p=0.0,
        s1_bits=s1_bits,
        s2_bits=sum(bits) - s1_bits,
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
    return network


def _write_bits(network: KronosTokenizer, grids: Sequence[FloatArray]) -> None:
    """Let the encoder's last block turn the numbers of the first rows into bits, in place.

    Args:
        network: A tokenizer of `_zero_tokenizer`.
        grids: Ascending values of each number, ``2^bits`` each; a number is rounded to the nearest.
    """
    lines = _FeedForwardWriter(network.encoder[-1])
    first = 0
    for row, values in enumerate(grids):
        bits = len(values).bit_length() - 1
        signs = gray_signs(bits)
        slopes = np.diff(signs, axis=0) / np.diff(values)[:, None]  # [cells - 1, bits]
        names = range(first, first + bits)
        lines.line(row, {BITS + name: slope for name, slope in zip(names, slopes[0], strict=True)})
        for value, bends in zip(values[1:-1], np.diff(slopes, axis=0), strict=True):
            lines.kink(row, 1.0, value, {BITS + name: bend for name, bend in zip(names, bends, strict=True) if bend})
        for name, sign, slope in zip(names, signs[0], slopes[0], strict=True):
            network.quant_embed.weight[name, BITS + name] = 1.0
            network.quant_embed.bias[name] = float(sign - slope * values[0])
        first += bits


def _read_bits(network: KronosTokenizer) -> None:
    """Let the decoder read the bits of both tokens, or of the coarse one alone, in place."""
    bits = network.s1_bits + network.s2_bits
    for layer, known in ((network.post_quant_embed, bits), (network.post_quant_embed_pre, network.s1_bits)):
        for name in range(known):
            layer.weight[BITS + name, name] = math.sqrt(bits)
        layer.bias[ONE] = CONSTANT


def gray_signs(bits: int) -> FloatArray:
    """Gray code of 0 … 2^bits − 1 (Gray 1953) as signs ±1 ``[2^bits, bits]``, most significant bit first."""
    integers = np.arange(2**bits)
    codes = integers ^ (integers >> 1)
    signs: FloatArray = (codes[:, None] >> np.arange(bits)[::-1] & 1) * 2.0 - 1.0
    return signs


class _FeedForwardWriter:
    """Writes the hidden units of a gated layer one by one.

    The norm before the layer scales row r to ``r · √d / CONSTANT`` and ``ONE`` to ``√d``, up to a common factor, which
    changes neither signs nor thresholds.
    """

    def __init__(self, block: torch.nn.Module) -> None:
        assert isinstance(block, TransformerBlock)
        self.layer: FeedForward = block.ffn
        self.root = math.sqrt(self.layer.w1.in_features)
        self.used = 0

    def kink(self, row: int, sign: float, at: float, outputs: dict[int, float]) -> None:
        """Add ``weight · max(0, sign · (row − at))`` to every output."""
        self._unit({row: sign * SHARPNESS * CONSTANT, ONE: -sign * SHARPNESS * at}, {ONE: 1.0}, SHARPNESS, outputs)

    def line(self, row: int, outputs: dict[int, float]) -> None:
        """Add ``weight · row`` to every output."""
        self._unit({ONE: SHARPNESS}, {row: CONSTANT}, SHARPNESS, outputs)

    def match(self, signs: dict[int, float], outputs: dict[int, float]) -> None:
        """Add the weight to every output if all signs match, else nothing."""
        sharp = 50.0
        gates = {row: sign * sharp * CONSTANT for row, sign in signs.items()}
        self._unit(gates | {ONE: -sharp * (len(signs) - 1)}, {ONE: 1.0}, sharp, outputs)

    def _unit(self, gate: dict[int, float], value: dict[int, float], scale: float, outputs: dict[int, float]) -> None:
        for matrix, weights in ((self.layer.w1, gate), (self.layer.w3, value)):
            for row, weight in weights.items():
                matrix.weight[self.used, row] = weight / self.root
        for row, weight in outputs.items():
            self.layer.w2.weight[row, self.used] = weight / scale
        self.used += 1


def _multiple_of_eight(number: int) -> int:
    return -(-number // 8) * 8
