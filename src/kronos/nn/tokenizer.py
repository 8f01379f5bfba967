"""The tokenizer: an auto-encoder that turns candles into pairs of discrete tokens and back.

- Encoder and decoder are causal transformer blocks around a binary quantiser, so the tokens of a prefix are a prefix
  of the tokens, and likewise the reconstructions.
- The coarse token alone can be decoded, through its own embedding and the same decoder.
- `n_enc_layers` and `n_dec_layers` are one more than the number of blocks, as in the published configurations.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kronos.errors import ParameterError
from kronos.formatting import join_names
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
    """Adds the level between ``tokenizer`` and ``bsq`` that the names of published weights have."""

    def __init__(self, bsq: BinarySphericalQuantizer) -> None:
        super().__init__()
        self.bsq = bsq


class KronosTokenizer(PretrainedMixin):
    """Turns normalised candles into pairs of tokens and back.

    Args:
        d_in: Channels of a candle: 6 for open, high, low, close, volume, amount.
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
        group_size: Size of a buffer in published checkpoints; not used otherwise.
        normalisation: Normalisation of its candles: ``spread``, as published, ``steps`` or ``changes``; see
            `kronos.normalisation`.

    Raises:
        ParameterError: If sizes are incompatible or the normalisation is unknown.
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
        self._record_config(locals())
        if normalisation not in get_args(Normalisation):
            choices = join_names(get_args(Normalisation))
            raise ParameterError(f"Invalid normalisation '{normalisation}': choose {choices}.")
        self.normalisation: Normalisation = normalisation
        if d_model % (2 * n_heads):
            raise ParameterError(f"Invalid d_model {d_model}: choose a multiple of 2 × n_heads = {2 * n_heads}.")
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
        """The quantiser between the encoder and the decoder."""
        return self.tokenizer.bsq

    def forward(self, x: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor, Tensor, Tensor]:
        """Encode, quantise and decode candles.

        Args:
            x: Normalised candles ``[B, T, d_in]``.

        Returns:
            ``((coarse, full), loss, quantized, ids)``: the reconstructions ``[B, T, d_in]`` from the coarse token and
            from both tokens, the quantiser loss (scalar), the codes ``[B, T, bits]`` and the full ids ``[B, T]``.
        """
        coarse, full, loss, code = self._reconstruct(x)
        return (coarse, full), loss.total, code, self.quantizer.full_id(code)

    def compute_loss(self, x: Tensor) -> TokenizerLoss:
        """The published training loss ``(mse(coarse) + mse(full) + quantiser) / 2`` of candles ``[B, T, d_in]``."""
        *parts, quantizer, _ = self._reconstruct(x)
        coarse, full = (F.mse_loss(part, x) for part in parts)
        return TokenizerLoss((coarse + full + quantizer.total) / 2, coarse, full, quantizer)

    def _reconstruct(self, x: Tensor) -> tuple[Tensor, Tensor, QuantizerLoss, Tensor]:
        """Coarse reconstruction, full reconstruction, quantiser loss and codes."""
        code, loss = self.quantizer(self.embed_codes(x))
        coarse = self._decode(self.post_quant_embed_pre(code[..., : self.s1_bits]))
        return coarse, self._decode(self.post_quant_embed(code)), loss, code

    def embed_codes(self, x: Tensor) -> Tensor:
        """Encode candles ``[B, T, d_in]`` as the quantiser's input ``[B, T, bits]``, not yet normalised."""
        hidden = self.embed(x)
        for block in self.encoder:
            hidden = block(hidden)
        return self.quant_embed(hidden)  # type: ignore[no-any-return]

    def encode(self, x: Tensor, half: bool = False) -> Tensor | list[Tensor]:
        """Encode normalised candles as tokens.

        Args:
            x: ``[B, T, d_in]``.
            half: Return the pair of tokens instead of one id of all bits.

        Returns:
            Full ids ``[B, T]`` int64; with ``half``, ``[s1, s2]``, each ``[B, T]``.
        """
        codes = signs(self.embed_codes(x))
        return list(self.quantizer.ids(codes)) if half else self.quantizer.full_id(codes)

    def indices_to_bits(self, ids: Tensor | list[Tensor] | tuple[Tensor, Tensor], half: bool = False) -> Tensor:
        """Codes ``[B, T, bits]`` of ±1/√n of full ids ``[B, T]``, or with ``half`` of ``[s1, s2]``."""
        if half:
            s1, s2 = ids
            parts = self.quantizer.code(s1, self.s1_bits), self.quantizer.code(s2, self.s2_bits)
            return torch.cat(parts, dim=-1).to(self.head.weight.dtype)
        if not isinstance(ids, Tensor):
            raise ParameterError("ids is a pair: pass half=True, or one tensor of full ids.")
        return self.quantizer.code(ids, self.s1_bits + self.s2_bits).to(self.head.weight.dtype)

    def decode(self, ids: Tensor | list[Tensor] | tuple[Tensor, Tensor], half: bool = False) -> Tensor:
        """Normalised candles ``[B, T, d_in]`` of full ids ``[B, T]``, or with ``half`` of ``[s1, s2]``."""
        return self._decode(self.post_quant_embed(self.indices_to_bits(ids, half)))

    def decode_coarse(self, s1_ids: Tensor) -> Tensor:
        """Normalised candles ``[B, T, d_in]`` of coarse ids ``[B, T]`` alone."""
        code = self.quantizer.code(s1_ids, self.s1_bits).to(self.head.weight.dtype)
        return self._decode(self.post_quant_embed_pre(code))

    def _decode(self, hidden: Tensor) -> Tensor:
        for block in self.decoder:
            hidden = block(hidden)
        return self.head(hidden)  # type: ignore[no-any-return]
