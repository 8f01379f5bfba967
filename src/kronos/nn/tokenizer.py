"""The tokenizer: candles become pairs of discrete tokens, and tokens become candles again.

Notable here:
- an auto-encoder of causal transformer blocks around a binary quantiser; because both stacks are causal, the tokens
  of a prefix are the prefix of the tokens of the whole, and so are the reconstructions;
- the coarse token alone can be decoded, through an embedding of its own and the same decoder;
- `n_enc_layers` counts one layer more than there are blocks, as the published configurations do.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kronos.errors import ParameterError
from kronos.nn.layers import TransformerBlock, init_weights
from kronos.nn.pretrained import PretrainedMixin
from kronos.nn.quantizer import BinarySphericalQuantizer, QuantizerLoss, QuantizerWeights, signs
from kronos.zoo import Normalisation


class TokenizerLoss(NamedTuple):
    """The published training loss and its parts, each a scalar."""

    total: Tensor
    coarse: Tensor
    full: Tensor
    quantizer: QuantizerLoss


class _Quantizer(nn.Module):
    """Only the level between ``tokenizer`` and ``bsq`` in the names of published weights."""

    def __init__(self, bsq: BinarySphericalQuantizer) -> None:
        super().__init__()
        self.bsq = bsq


class KronosTokenizer(PretrainedMixin):
    """Turns normalised candles into pairs of tokens and back.

    Args:
        d_in: Channels of a candle; 6 for open, high, low, close, volume, amount.
        d_model: Width of the blocks.
        n_heads: Attention heads.
        ff_dim: Width of the feed-forward layers.
        n_enc_layers: Encoder blocks plus one.
        n_dec_layers: Decoder blocks plus one.
        ffn_dropout_p: Dropout after the feed-forward layers, in training.
        attn_dropout_p: Dropout of attention weights, in training.
        resid_dropout_p: Dropout after attention, in training.
        s1_bits: Bits of the coarse token.
        s2_bits: Bits of the fine token.
        beta: Weight of the commitment loss.
        gamma0: Weight of the per-sample entropy.
        gamma: Weight of the codebook entropy.
        zeta: Weight of both entropies.
        group_size: Shapes a buffer of the checkpoint and nothing else.
        normalisation: What candles it reads: ``spread``, each column by its own mean and standard deviation, as
            published, or ``steps``, see `kronos.inference.statistics`.

    Raises:
        ParameterError: If a size contradicts another.
    """

    kind: ClassVar = "tokenizer"

    def __init__(
        self,
        d_in: int,
        d_model: int,
        n_heads: int,
        ff_dim: int,
        n_enc_layers: int,
        n_dec_layers: int,
        ffn_dropout_p: float,
        attn_dropout_p: float,
        resid_dropout_p: float,
        s1_bits: int,
        s2_bits: int,
        beta: float,
        gamma0: float,
        gamma: float,
        zeta: float,
        group_size: int,
        normalisation: Normalisation = "spread",
    ) -> None:
        super().__init__()
        self._remember(locals())
        if normalisation not in ("spread", "steps"):
            raise ParameterError(f"normalisation is 'spread' or 'steps', not '{normalisation}'.")
        self.normalisation: Normalisation = normalisation
        if d_model % (2 * n_heads):
            raise ParameterError(f"d_model {d_model} must be a multiple of 2 × n_heads = {2 * n_heads}.")
        self.s1_bits, self.s2_bits = s1_bits, s2_bits
        self.d_in = d_in

        def blocks(layers: int) -> nn.ModuleList:
            return nn.ModuleList(
                TransformerBlock(d_model, n_heads, ff_dim, ffn_dropout_p, attn_dropout_p, resid_dropout_p)
                for _ in range(layers - 1)
            )

        self.embed = nn.Linear(d_in, d_model)
        self.head = nn.Linear(d_model, d_in)
        self.encoder = blocks(n_enc_layers)
        self.decoder = blocks(n_dec_layers)
        self.quant_embed = nn.Linear(d_model, s1_bits + s2_bits)
        self.post_quant_embed_pre = nn.Linear(s1_bits, d_model)
        self.post_quant_embed = nn.Linear(s1_bits + s2_bits, d_model)
        weights = QuantizerWeights(beta, gamma0, gamma, zeta)
        self.tokenizer = _Quantizer(BinarySphericalQuantizer(s1_bits, s2_bits, weights, group_size))
        self.apply(init_weights)

    @property
    def quantizer(self) -> BinarySphericalQuantizer:
        """The quantiser between encoder and decoder."""
        return self.tokenizer.bsq

    def forward(self, x: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor, Tensor, Tensor]:
        """Encode, quantise and decode.

        Args:
            x: Normalised candles ``[B, T, d_in]``.

        Returns:
            ``((coarse, full), loss, quantized, ids)``: the reconstructions ``[B, T, d_in]`` from the coarse token and
            from both, the quantiser loss (scalar), the codes ``[B, T, bits]`` and the full ids ``[B, T]``.
        """
        coarse, full, loss, code = self._reconstruct(x)
        return (coarse, full), loss.total, code, self.quantizer.full_id(code)

    def compute_loss(self, x: Tensor) -> TokenizerLoss:
        """The published training loss, ``(mse(coarse) + mse(full) + quantiser)/2``, of candles ``[B, T, d_in]``."""
        *parts, quantizer, _ = self._reconstruct(x)
        coarse, full = (F.mse_loss(part, x) for part in parts)
        return TokenizerLoss((coarse + full + quantizer.total) / 2, coarse, full, quantizer)

    def _reconstruct(self, x: Tensor) -> tuple[Tensor, Tensor, QuantizerLoss, Tensor]:
        """Coarse and full reconstruction, the quantiser's loss, and the codes."""
        code, loss = self.quantizer(self.embed_codes(x))
        coarse = self._decode(self.post_quant_embed_pre(code[..., : self.s1_bits]))
        return coarse, self._decode(self.post_quant_embed(code)), loss, code

    def embed_codes(self, x: Tensor) -> Tensor:
        """What the quantiser takes the signs of: ``[B, T, d_in]`` to ``[B, T, bits]``, not yet normalised."""
        hidden = self.embed(x)
        for block in self.encoder:
            hidden = block(hidden)
        return self.quant_embed(hidden)  # type: ignore[no-any-return]

    def encode(self, x: Tensor, half: bool = False) -> Tensor | list[Tensor]:
        """Tokens of normalised candles.

        Args:
            x: ``[B, T, d_in]``.
            half: Whether to give the pair instead of one id of all bits.

        Returns:
            Full ids ``[B, T]`` int64, or ``[s1, s2]``, each ``[B, T]``, where ``half``.
        """
        codes = signs(self.embed_codes(x))
        return list(self.quantizer.ids(codes)) if half else self.quantizer.full_id(codes)

    def indices_to_bits(self, ids: Tensor | list[Tensor] | tuple[Tensor, Tensor], half: bool = False) -> Tensor:
        """Codes ``[B, T, bits]`` of ±1/√n from full ids ``[B, T]``, or from ``[s1, s2]`` where ``half``."""
        if half:
            s1, s2 = ids
            parts = self.quantizer.code(s1, self.s1_bits), self.quantizer.code(s2, self.s2_bits)
            return torch.cat(parts, dim=-1).to(self.head.weight.dtype)
        if not isinstance(ids, Tensor):
            raise ParameterError("Full ids are one tensor; pass half=True with a pair of them.")
        return self.quantizer.code(ids, self.s1_bits + self.s2_bits).to(self.head.weight.dtype)

    def decode(self, ids: Tensor | list[Tensor] | tuple[Tensor, Tensor], half: bool = False) -> Tensor:
        """Normalised candles ``[B, T, d_in]`` from full ids ``[B, T]``, or from ``[s1, s2]`` where ``half``."""
        return self._decode(self.post_quant_embed(self.indices_to_bits(ids, half)))

    def decode_coarse(self, s1_ids: Tensor) -> Tensor:
        """Normalised candles ``[B, T, d_in]`` from coarse ids ``[B, T]`` alone."""
        code = self.quantizer.code(s1_ids, self.s1_bits).to(self.head.weight.dtype)
        return self._decode(self.post_quant_embed_pre(code))

    def _decode(self, hidden: Tensor) -> Tensor:
        for block in self.decoder:
            hidden = block(hidden)
        return self.head(hidden)  # type: ignore[no-any-return]
