"""What training makes small: the tokenizer's reconstruction errors, the model's cross-entropy.

Notable here:
- a sample counts the same whatever the number of its positions: means over its own, then over samples;
- the model's heads are computed at the rows that count and at no others;
- a validation is causal, teacher-forced, without dropout, and a mean over samples: how they are batched or shared out
  among processes changes nothing.

An objective of one's own needs what `Objective` lists.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from kronos.candles import COLUMNS
from kronos.datasets.batching import Batch
from kronos.datasets.windows import WindowDataset
from kronos.errors import ParameterError
from kronos.nn import Kronos, KronosTokenizer, QuantizerLoss
from kronos.nn.pretrained import PretrainedMixin
from kronos.training.distributed import average_over_processes
from kronos.training.run_folder import weights_digest
from kronos.training.runtime import uniforms, wide

_CLOSE = COLUMNS.index("close")
_SOFTENING = 0.05  # added to one-step volatilities: a market that stands still gets no infinite weight
_STILL = 0.02  # the least one-step volatility that errors are told in


@dataclass(frozen=True)
class Losses:
    """The losses of a batch.

    Attributes:
        total: What is made smaller, a scalar in float32.
        parts: What is told, by name: scalars without gradient, means over samples.
        counts: How often each code was used, by what is counted (``s1``, ``s2``); added up over a validation.
    """

    total: Tensor
    parts: Mapping[str, Tensor]
    counts: Mapping[str, Tensor] = field(default_factory=dict)


class Objective(Protocol):
    """What a training loop asks."""

    @property
    def network(self) -> PretrainedMixin:
        """What is trained."""
        ...

    def losses(self, batch: Batch, *, training: bool) -> Losses:
        """The losses of a batch.

        Args:
            batch: On the network's device; `known` may be on the CPU.
            training: Whether to give what is trained on. Otherwise ``total`` is the mean of `per_sample`.
        """
        ...

    def per_sample(self, batch: Batch) -> Tensor:
        """What selects the best weights, for each sample ``[B]``, float32: the smaller the better."""
        ...

    def describe(self) -> dict[str, Any]:
        """What decides on the losses besides network and data, fit for JSON: a run goes on with nothing else."""
        ...


@dataclass(frozen=True)
class ReconstructionWeights:
    """What counts how much for a tokenizer. As published by default.

    Attributes:
        coarse: Weight of the error from the coarse token alone.
        full: Weight of the error from both.
        quantizer: Weight of the quantiser's loss.
        channels: Weights of open, high, low, close, volume, amount; only their proportions count.
        unit: ``window``: errors count in units of the window's spread, as published. ``step``: those of prices and
            volumes alike count in units of the window's one-step volatility, so that calm windows within a wide range
            are told as finely as others.

    Raises:
        ParameterError: If a weight is negative, or nothing counts.
    """

    coarse: float = 1.0
    full: float = 1.0
    quantizer: float = 1.0
    channels: tuple[float, float, float, float, float, float] = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    unit: Literal["window", "step"] = "window"

    def __post_init__(self) -> None:
        if min(self.coarse, self.full, self.quantizer, *self.channels) < 0 or len(self.channels) != len(COLUMNS):
            raise ParameterError("Reconstruction weights are 0 or more, one for each of the six channels.")
        if not sum(self.channels) or not self.coarse + self.full:
            raise ParameterError("Reconstruction weights of 0 leave nothing to reconstruct; raise one.")
        if self.unit not in ("window", "step"):
            raise ParameterError(f"Errors count in units of 'window' or 'step', not '{self.unit}'.")


@dataclass(frozen=True)
class _Reconstruction:
    """What a tokenizer made of a batch: squared errors ``[B]``, mean over rows and weighted channels, and the rest."""

    coarse: Tensor
    full: Tensor
    close: Tensor  # root of the mean squared error of the close alone, [B]
    quantizer: QuantizerLoss
    code: Tensor


class TokenizerObjective:
    """Reconstruct candles through their tokens: ``(coarse + full + quantiser)/2``, as published.

    Codes are computed in float32 whatever is around: they are signs. The entropy of the codebook, and what errors in
    steps are weighed against, are those of a micro-batch over all processes. A validation scores the error of the full
    reconstruction.

    Args:
        network: The tokenizer that is trained.
        weights: Of the parts.
    """

    def __init__(self, network: KronosTokenizer, weights: ReconstructionWeights = ReconstructionWeights()) -> None:
        self.network = network
        self.weights = weights

    def describe(self) -> dict[str, Any]:
        """The weights."""
        return {"objective": "tokenizer", **asdict(self.weights), "channels": list(self.weights.channels)}

    def losses(self, batch: Batch, *, training: bool) -> Losses:
        """The published loss in training, the full reconstruction's error in validation; parts in both."""
        made, share = self._reconstruct(batch, training), self.weights
        importance = self._importance(batch)
        if training:
            importance = importance / average_over_processes(importance.mean())
        coarse, full = (importance * made.coarse).mean(), (importance * made.full).mean()
        weighted = share.coarse * coarse + share.full * full + share.quantizer * made.quantizer.total
        told = {"coarse": coarse, "full": full, "quantizer": made.quantizer.total, **made.quantizer._asdict()}
        parts = {name: value.detach() for name, value in told.items() if name != "total"}
        if training:
            return Losses(weighted / 2, parts)
        parts["close_error_in_steps"] = (made.close / batch.step.clamp(min=_STILL)).mean()
        ids = zip(("s1", "s2"), self.network.quantizer.ids(made.code), strict=True)
        sizes = {"s1": 2**self.network.s1_bits, "s2": 2**self.network.s2_bits}
        return Losses(full, parts, {name: torch.bincount(one.flatten(), minlength=sizes[name]) for name, one in ids})

    def per_sample(self, batch: Batch) -> Tensor:
        """The error of the full reconstruction, weighted as in training."""
        return self._importance(batch) * self._reconstruct(batch, training=False).full

    def _importance(self, batch: Batch) -> Tensor:
        """How much each sample counts, ``[B]``."""
        if self.weights.unit == "window":
            return torch.ones_like(batch.step)
        return (batch.step + _SOFTENING) ** -2

    def _reconstruct(self, batch: Batch, training: bool) -> _Reconstruction:
        network, x = self.network, batch.x
        z = network.embed_codes(x)
        with wide(x.device):
            code, quantizer = network.quantizer(z.float(), average_over_processes if training else None)
        # Both reconstructions go through the decoder as one batch: it is the same decoder.
        partial = network.post_quant_embed_pre(code[..., : network.s1_bits])
        hidden = torch.cat((partial, network.post_quant_embed(code)))
        for block in network.decoder:
            hidden = block(hidden)
        squares = (network.head(hidden).float() - x.repeat(2, 1, 1)).square().mean(1)  # [2B, 6]
        channels = torch.tensor(self.weights.channels, device=x.device)
        coarse, full = (squares @ (channels / channels.sum())).chunk(2)
        return _Reconstruction(coarse, full, squares.chunk(2)[1][:, _CLOSE].sqrt(), quantizer, code.detach())


class ModelObjective:
    """Tell the next candle's tokens: the mean of both tokens' cross-entropies, in nats.

    In training the fine head is told a coarse token that is drawn from the model's own distribution, as published, or
    the true one. A validation always tells it the true one.

    Args:
        network: The model that is trained.
        tokenizer: Makes the tokens; it only encodes, in float32 and in evaluation mode, and is not trained.
        teacher_forcing: Whether training tells the fine head the true coarse token.
        loss_on: ``forecast``: candles after the known ones alone count; those before are known to the statistics that
            they are normalised with. ``window``: all count, as published.
        seed: Of the coarse tokens that are drawn.

    Raises:
        ParameterError: If the tokenizer's tokens aren't the model's.
    """

    def __init__(
        self,
        network: Kronos,
        tokenizer: KronosTokenizer,
        teacher_forcing: bool = False,
        loss_on: Literal["forecast", "window"] = "forecast",
        seed: int = 100,
    ) -> None:
        bits = (network.s1_bits, network.s2_bits), (tokenizer.s1_bits, tokenizer.s2_bits)
        if bits[0] != bits[1]:
            raise ParameterError(f"The model's tokens have {bits[0]} bits, the tokenizer's {bits[1]}; pair others.")
        if loss_on not in ("forecast", "window"):
            raise ParameterError(f"The loss is taken on 'forecast' or 'window', not '{loss_on}'.")
        self.network = network
        self.tokenizer = tokenizer.eval()
        self.teacher_forcing = teacher_forcing
        self.loss_on = loss_on
        self.seed = seed

    def describe(self) -> dict[str, Any]:
        """The options, and a hash of the tokenizer: with other tokens it is another task."""
        options = {"teacher_forcing": self.teacher_forcing, "loss_on": self.loss_on, "draws": self.seed}
        return {"objective": "model", **options, "tokenizer": weights_digest(self.tokenizer)}

    def losses(self, batch: Batch, *, training: bool) -> Losses:
        """Mean of both cross-entropies, and each of them."""
        s1, s2 = self._nats(batch, training=training, rows=self._rows(batch))
        counted = self._counted(batch, s1.shape[1])
        means = {"s1": _mean(s1, counted).mean(), "s2": _mean(s2, counted).mean()}
        return Losses((means["s1"] + means["s2"]) / 2, {name: value.detach() for name, value in means.items()})

    def per_sample(self, batch: Batch) -> Tensor:
        """Mean of both teacher-forced cross-entropies over the positions that count, for each sample ``[B]``."""
        s1, s2 = self._nats(batch, training=False, rows=self._rows(batch))
        return _mean((s1 + s2) / 2, self._counted(batch, s1.shape[1]))

    def per_position(self, batch: Batch) -> Tensor:
        """Mean of both teacher-forced cross-entropies of every candle but the first, ``[B, L - 1]``."""
        s1, s2 = self._nats(batch, training=False, rows=batch.x.shape[1] - 1)
        return (s1 + s2) / 2

    def _rows(self, batch: Batch) -> int:
        """How many of the last rows hold all those that count."""
        length = batch.x.shape[1]
        return length - (1 if self.loss_on == "window" else int(batch.known.min()))

    def _counted(self, batch: Batch, rows: int) -> Tensor:
        """Which of the last rows count: 1 or 0, ``[B, P]``."""
        length = batch.x.shape[1]
        predicted = torch.arange(length - rows, length)
        known = batch.known.cpu() if self.loss_on == "forecast" else torch.zeros(len(batch.x), dtype=torch.long)
        return (predicted >= known[:, None]).float().to(batch.x.device)

    def _nats(self, batch: Batch, *, training: bool, rows: int) -> tuple[Tensor, Tensor]:
        """Cross-entropies of both tokens of the last rows, ``[B, P]`` each."""
        network = self.network
        s1, s2 = self._tokens(batch.x)
        states = network.states(s1[:, :-1], s2[:, :-1], batch.stamp[:, :-1])
        with _heads(batch.x.device, training):
            logits = network.head(states[:, -rows:]).float()
            true = s1[:, -rows:]
            told = true if self.teacher_forcing or not training else self._drawn(logits, batch.row)
            dependent = network.dep_layer(states, network.embedding.emb_s1(told))
            fine = network.head.cond_forward(dependent).float()
        return _cross_entropy(logits, true), _cross_entropy(fine, s2[:, -rows:])

    @torch.no_grad()
    def _tokens(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens ``[B, L]`` of both kinds."""
        if self.tokenizer.head.weight.device != x.device:
            self.tokenizer.to(x.device)
        with wide(x.device):
            s1, s2 = self.tokenizer.encode(x, half=True)
        return s1, s2

    @torch.no_grad()
    def _drawn(self, logits: Tensor, row: Tensor) -> Tensor:
        """Coarse tokens ``[B, P]`` drawn from logits ``[B, P, V]`` by inverting their distribution function."""
        positions = torch.arange(logits.shape[1], device=logits.device).flip(0)  # from the window's end
        u = uniforms(self.seed, row.to(logits.device), positions)[..., None]
        cdf = logits.softmax(-1).cumsum(-1)
        return torch.searchsorted(cdf, u * cdf[..., -1:], right=True).squeeze(-1).clamp_(max=logits.shape[-1] - 1)


def check_causality(objective: ModelObjective, batch: Batch) -> None:
    """Make sure that what comes later changes no loss: neither the network nor the tokenizer looks ahead.

    The second half of every window is replaced; the losses of the candles before must stay.

    Args:
        objective: In evaluation mode.
        batch: Some samples, on the network's device.

    Raises:
        ParameterError: If a loss changes.
    """
    half = max(batch.x.shape[1] // 2, 2)  # the first candle has no loss
    other = batch.x.clone()
    other[:, half:] = -other[:, half:].flip(1) + 0.5
    with torch.no_grad():
        before, after = (objective.per_position(one) for one in (batch, _with(batch, other)))
    change = (before - after)[:, : half - 1].abs().max().item()  # of the candles before the half
    if change > 1e-4:
        raise ParameterError(
            f"The loss of a candle changes by {change:.2g} nats with candles that come after it: network or tokenizer "
            "look ahead, so that no validation could be trusted; make their attention causal."
        )


def check_normalisation(objective: Objective, *parts: WindowDataset) -> None:
    """Make sure that samples are normalised as the tokenizer knows candles: forecasts go by its record.

    Args:
        objective: With the tokenizer.
        parts: The samples.

    Raises:
        ParameterError: If they are not.
    """
    words = objective.tokenizer if isinstance(objective, ModelObjective) else objective.network
    known = getattr(words, "normalisation", None)
    for part in parts:
        given = part.settings.normalisation
        if known not in (None, given):
            raise ParameterError(
                f"The {part.part} windows are normalised by '{given}', but the tokenizer knows candles by '{known}'; "
                f"make them with normalisation='{known}'."
            )


def _with(batch: Batch, x: Tensor) -> Batch:
    return Batch(x=x, stamp=batch.stamp, known=batch.known, step=batch.step, row=batch.row)


def _heads(device: torch.device, training: bool) -> torch.autocast:
    """The precision of the heads: as around in training, float32 in validation, whose logits must not be rounded."""
    around = torch.is_autocast_enabled(device.type)
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=around and training)


def _cross_entropy(logits: Tensor, ids: Tensor) -> Tensor:
    """Nats ``[B, P]`` of ids ``[B, P]`` under logits ``[B, P, V]``."""
    return F.cross_entropy(logits.flatten(0, 1), ids.flatten(), reduction="none").view(ids.shape)


def _mean(values: Tensor, counted: Tensor) -> Tensor:
    """Means ``[B]`` of values ``[B, P]`` where they count."""
    return (values * counted).sum(1) / counted.sum(1).clamp(min=1)
