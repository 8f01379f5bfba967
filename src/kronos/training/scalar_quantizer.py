"""A tokenizer with constructed weights instead of trained ones: every bit of a candle's code has a defined meaning.

With little training, a trained tokenizer uses most of its bits badly: after half an hour on a CPU, the bundled model's
first one reconstructed one-step changes with an error of 0.44 one-step volatilities and used a tenth of its codes. The
blocks of the published architecture can represent an exact scalar quantiser, which needs no training:

- Candles are normalised in ``steps`` (`kronos.preprocessing`): the last known close is 0 and one step of volatility is
  1/8 in every window, so one grid of values fits all.
- The encoder's first block computes the wicks, ``high - max(open, close)`` and ``min(open, close) - low``. Its second
  block computes, for every bit, a piecewise linear function that crosses 0 wherever the bit changes.
- Bits are in Gray code: neighbouring grid values differ in one bit, so a rounding error cannot move a value far.
- The decoder is a lookup table: one hidden unit per grid value, active only if its bits match.

s1 encodes the close alone and s2 the rest, so the model's first distribution is that of the next close. Attention is
inactive (its output weights are 0), but further training can use it.
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
from kronos.normalisation import STEPS
from kronos.typing import FloatArray
from kronos.zoo import Normalisation

OPEN, HIGH, LOW, CLOSE, VOLUME, AMOUNT = range(6)
# Rows of the residual stream: the five encoded numbers, the constant 1 for thresholds, the bits.
LEVEL, BODY, UPPER, LOWER, TRADED, ONE, BITS = range(7)
CONSTANT = 1000.0  # so large that the norm before a feed-forward layer hardly depends on the candle
SHARPNESS = 2000.0  # makes silu a kink at the scale of the finest cell


@dataclass(frozen=True, slots=True)
class Grid:
    """Grid of values for one number of a candle: dense around 0, sparse far away.

    Attributes:
        bits: The grid has ``2^bits`` values.
        low: Lowest value.
        high: Highest value.
        bend: Magnitude up to which values are evenly spaced; beyond it their distances grow in proportion.
        with_zero: Whether 0 is a value. There is then one value fewer above it, and the highest is below ``high``.

    Raises:
        ParameterError: If the values do not form a grid.
    """

    bits: int
    low: float
    high: float
    bend: float
    with_zero: bool = False

    def __post_init__(self) -> None:
        if not (1 <= self.bits <= 12 and self.low < self.high and self.bend > 0):
            raise ParameterError(f"Invalid {self}: choose 1 to 12 bits, low below high, and a bend above 0.")
        if self.with_zero and self.low != -self.high:
            raise ParameterError(f"Invalid {self}: with_zero needs low = -high.")

    @property
    def values(self) -> FloatArray:
        """The values, ascending, ``[2^bits]``."""
        ends = np.arcsinh(self.low / self.bend), np.arcsinh(self.high / self.bend)
        count = 2**self.bits
        points = np.linspace(*ends, count + 1)[:-1] if self.with_zero else np.linspace(*ends, count)
        values: FloatArray = self.bend * np.sinh(points)
        return values


@dataclass(frozen=True, slots=True)
class ScalarCode:
    """Meaning of the bits of a candle; prices in one-step volatilities, volume in standard deviations.

    Attributes:
        close: The close relative to the last known one, which is encoded without error. Token s1.
        body: Close minus open. Token s2, with the rest.
        wick: High minus the upper end of the body, and the lower end of the body minus low.
        volume: The volume; the amount is assumed to be the same.
    """

    close: Grid = Grid(8, -40.0, 40.0, 8.0, with_zero=True)
    body: Grid = Grid(3, -2.6, 2.6, 0.5)
    wick: Grid = Grid(3, 0.03, 4.0, 0.3)
    volume: Grid = Grid(2, -0.75, 2.2, 0.8)

    @property
    def grids(self) -> tuple[Grid, ...]:
        """Grids of level, body, upper wick, lower wick and volume."""
        return self.close, self.body, self.wick, self.wick, self.volume

    @property
    def s1_bits(self) -> int:
        """Bits of the coarse token."""
        return self.close.bits

    @property
    def s2_bits(self) -> int:
        """Bits of the fine token."""
        return sum(grid.bits for grid in self.grids[1:])

    @property
    def scaled(self) -> tuple[FloatArray, ...]:
        """Values of the grids in normalised units."""
        *prices, volume = (grid.values for grid in self.grids)
        return *(values / STEPS for values in prices), volume


def scalar_tokenizer(code: ScalarCode = ScalarCode()) -> KronosTokenizer:
    """Construct a tokenizer whose weights implement a code.

    Args:
        code: Meaning of the bits.

    Returns:
        A tokenizer of the published architecture in evaluation mode, for candles normalised in ``steps``.
    """
    network = zero_tokenizer([grid.bits for grid in code.grids], code.s1_bits, blocks=2, normalisation="steps")
    with torch.no_grad():
        _write_encoder(network, code)
        _write_decoder(network, code)
    return network.eval()


def zero_tokenizer(bits: Sequence[int], s1_bits: int, *, blocks: int, normalisation: Normalisation) -> KronosTokenizer:
    """Build a tokenizer whose weights are 0 but for its norms, large enough for a code.

    Args:
        bits: Bits of each encoded number.
        s1_bits: Bits of the coarse token; the others are those of the fine token.
        blocks: Blocks of the encoder; the decoder has one.
        normalisation: Normalisation of its candles.
    """
    network = KronosTokenizer(
        d_in=6,
        d_model=_multiple_of_eight(BITS + sum(bits)),
        n_heads=4,
        ff_dim=_multiple_of_eight(sum(2**own for own in bits)),
        n_enc_layers=blocks + 1,
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
        normalisation=normalisation,
    )
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        for block in (*network.encoder, *network.decoder):
            assert isinstance(block, TransformerBlock)
            block.norm1.weight.fill_(1.0)
            block.norm2.weight.fill_(1.0)
    return network


def write_bits(network: KronosTokenizer, grids: Sequence[FloatArray]) -> None:
    """Let the encoder's last block turn the numbers of the first rows into bits, in place.

    Args:
        network: A tokenizer of `zero_tokenizer`.
        grids: Ascending values of each number, ``2^bits`` each; a number is rounded to the nearest.
    """
    lines = FeedForwardWriter(network.encoder[-1])
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


def read_bits(network: KronosTokenizer) -> None:
    """Let the decoder read the bits of both tokens, or of the coarse one alone, in place."""
    bits = network.s1_bits + network.s2_bits
    for layer, known in ((network.post_quant_embed, bits), (network.post_quant_embed_pre, network.s1_bits)):
        for name in range(known):
            layer.weight[BITS + name, name] = math.sqrt(bits)
        layer.bias[ONE] = CONSTANT


def _write_encoder(network: KronosTokenizer, code: ScalarCode) -> None:
    """Prices to body and wicks, then to bits."""
    for row, plus, minus in ((LEVEL, CLOSE, None), (BODY, CLOSE, OPEN), (UPPER, HIGH, CLOSE), (LOWER, CLOSE, LOW),
                             (TRADED, VOLUME, None)):  # fmt: skip
        network.embed.weight[row, plus] = 1.0
        if minus is not None:
            network.embed.weight[row, minus] = -1.0
    network.embed.bias[ONE] = CONSTANT

    # High and low differ from the close by a wick, and on the body's side by the body as well.
    wicks = FeedForwardWriter(network.encoder[0])
    wicks.kink(BODY, sign=-1.0, at=0.0, outputs={UPPER: -1.0})
    wicks.kink(BODY, sign=1.0, at=0.0, outputs={LOWER: -1.0})

    write_bits(network, code.scaled)


def _write_decoder(network: KronosTokenizer, code: ScalarCode) -> None:
    """Bits to grid values, then to prices."""
    read_bits(network)
    table = FeedForwardWriter(network.decoder[0])
    first = 0
    for row, (grid, values) in enumerate(zip(code.grids, code.scaled, strict=True)):
        for signs, value in zip(gray_signs(grid.bits), values, strict=True):
            outputs = {row: float(value)}
            if row == BODY:  # high and low are relative to the close, so on one side the body is added
                outputs |= {UPPER: max(-float(value), 0.0), LOWER: max(float(value), 0.0)}
            table.match({BITS + first + i: float(sign) for i, sign in enumerate(signs)}, outputs)
        first += grid.bits
    for channel, parts in {
        OPEN: {LEVEL: 1.0, BODY: -1.0},
        HIGH: {LEVEL: 1.0, UPPER: 1.0},
        LOW: {LEVEL: 1.0, LOWER: -1.0},
        CLOSE: {LEVEL: 1.0},
        VOLUME: {TRADED: 1.0},
        AMOUNT: {TRADED: 1.0},
    }.items():
        for row, weight in parts.items():
            network.head.weight[channel, row] = weight


def gray_signs(bits: int) -> FloatArray:
    """Gray code of 0 … 2^bits − 1 (Gray 1953) as signs ±1 ``[2^bits, bits]``, most significant bit first."""
    integers = np.arange(2**bits)
    codes = integers ^ (integers >> 1)
    signs: FloatArray = (codes[:, None] >> np.arange(bits)[::-1] & 1) * 2.0 - 1.0
    return signs


class FeedForwardWriter:
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
