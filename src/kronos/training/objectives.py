"""Training objectives: reconstruction loss of the tokenizer, cross-entropy of the model.

- Every sample has the same weight, however many positions it has: the loss is averaged within samples, then over them.
- The model's heads are computed only at the rows that count.
- A validation is causal, teacher-forced and without dropout; its mean over samples does not depend on how they are
  batched or divided among processes.

To write an objective, implement `Objective`.
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
from kronos.training.runtime import full_precision, keyed_uniforms

_CLOSE = COLUMNS.index("close")
_SOFTENING = 0.05  # added to one-step volatilities, so that a flat market gets no infinite weight
MIN_STEP_VOLATILITY = 0.02  # lower bound of the one-step volatility in which errors are expressed


@dataclass(frozen=True)
class Losses:
    """Losses of a batch.

    Attributes:
        total: Loss to minimise, a scalar in float32.
        parts: Reported parts by name: scalars without gradient, means over samples.
        counts: How often each code was used, by kind of code (``s1``, ``s2``); added up over a validation.
    """

    total: Tensor
    parts: Mapping[str, Tensor]
    counts: Mapping[str, Tensor] = field(default_factory=dict)


class Objective(Protocol):
    """Interface of an objective for `kronos.training.fit`."""

    @property
    def network(self) -> PretrainedMixin:
        """The network to train."""
        ...

    def losses(self, batch: Batch, *, training: bool) -> Losses:
        """Compute the losses of a batch.

        Args:
            batch: Batch on the network's device; `known` may be on the CPU.
            training: Whether ``total`` is the training loss. Otherwise it is the mean of `per_sample`.
        """
        ...

    def per_sample(self, batch: Batch) -> Tensor:
        """Loss of each sample ``[B]``, float32, whose mean selects the best weights."""
        ...

    def describe(self) -> dict[str, Any]:
        """What determines the losses besides network and data, ready for JSON; compared before a resume."""
        ...


@dataclass(frozen=True)
class ReconstructionWeights:
    """Weights of a tokenizer's reconstruction loss; the defaults are the published ones.

    Attributes:
        coarse: Weight of the error from the coarse token alone.
        full: Weight of the error from both tokens.
        quantizer: Weight of the quantiser's loss.
        channels: Relative weights of open, high, low, close, volume and amount.
        unit: Unit of the errors. ``window``: the spread of the window, as published. ``step``: the window's one-step
            volatility, for prices and volumes alike, so that calm windows within a wide range are reconstructed as
            finely as others.

    Raises:
        ParameterError: If a weight is negative, or all are zero.
    """

    coarse: float = 1.0
    full: float = 1.0
    quantizer: float = 1.0
    channels: tuple[float, float, float, float, float, float] = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    unit: Literal["window", "step"] = "window"

    def __post_init__(self) -> None:
        if min(self.coarse, self.full, self.quantizer, *self.channels) < 0 or len(self.channels) != len(COLUMNS):
            raise ParameterError(f"Invalid {self}: choose weights of at least 0, one for each of the six channels.")
        if not sum(self.channels) or not self.coarse + self.full:
            raise ParameterError(f"Invalid {self}: the weights leave nothing to reconstruct; raise one above 0.")
        if self.unit not in ("window", "step"):
            raise ParameterError(f"Invalid unit '{self.unit}': choose 'window' or 'step'.")


@dataclass(frozen=True)
class _Reconstruction:
    """Reconstruction of a batch: squared errors ``[B]``, means over rows and weighted channels."""

    coarse: Tensor
    full: Tensor
    close: Tensor  # root mean squared error of the close, [B]
    quantizer: QuantizerLoss
    code: Tensor


class TokenizerObjective:
    """Reconstruction of candles from their tokens: ``(coarse + full + quantiser)/2``, as published.

    Codes are computed in float32 even under autocast, because they are signs. The entropy of the codebook, and the
    weights by one-step volatility, are those of a micro-batch over all processes. A validation measures the error of
    the full reconstruction.

    Args:
        network: The tokenizer to train.
        weights: Weights of the parts.
    """

    def __init__(self, network: KronosTokenizer, weights: ReconstructionWeights = ReconstructionWeights()) -> None:
        self.network = network
        self.weights = weights

    def describe(self) -> dict[str, Any]:
        """The weights."""
        return {"objective": "tokenizer", **asdict(self.weights), "channels": list(self.weights.channels)}

    def losses(self, batch: Batch, *, training: bool) -> Losses:
        """The published loss in training, the error of the full reconstruction in validation; the parts in both."""
        result, weights = self._reconstruct(batch, training), self.weights
        importance = self._importance(batch)
        if training:
            importance = importance / average_over_processes(importance.mean())
        coarse, full = (importance * result.coarse).mean(), (importance * result.full).mean()
        weighted = weights.coarse * coarse + weights.full * full + weights.quantizer * result.quantizer.total
        values = {"coarse": coarse, "full": full, "quantizer": result.quantizer.total, **result.quantizer._asdict()}
        parts = {name: value.detach() for name, value in values.items() if name != "total"}
        if training:
            return Losses(weighted / 2, parts)
        parts["close_error_in_steps"] = (result.close / batch.step.clamp(min=MIN_STEP_VOLATILITY)).mean()
        ids = zip(("s1", "s2"), self.network.quantizer.ids(result.code), strict=True)
        sizes = {"s1": 2**self.network.s1_bits, "s2": 2**self.network.s2_bits}
        counts = {name: torch.bincount(tokens.flatten(), minlength=sizes[name]) for name, tokens in ids}
        return Losses(full, parts, counts)

    def per_sample(self, batch: Batch) -> Tensor:
        """Error of the full reconstruction of each sample ``[B]``, weighted as in training."""
        return self._importance(batch) * self._reconstruct(batch, training=False).full

    def _importance(self, batch: Batch) -> Tensor:
        """Weight of each sample, ``[B]``."""
        if self.weights.unit == "window":
            return torch.ones_like(batch.step)
        return (batch.step + _SOFTENING) ** -2

    def _reconstruct(self, batch: Batch, training: bool) -> _Reconstruction:
        network, x = self.network, batch.x
        z = network.embed_codes(x)
        with full_precision(x.device):
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
    """Prediction of the next candle's tokens: the mean of both tokens' cross-entropies, in nats.

    In training the fine head receives a coarse token sampled from the model's own distribution, as published, or the
    true one (teacher forcing). A validation always uses the true one.

    Args:
        network: The model to train.
        tokenizer: Tokenizer of the candles; it encodes in float32 and in evaluation mode, and is not trained.
        teacher_forcing: Whether the fine head receives the true coarse token in training.
        loss_on: ``forecast``: only candles after the known ones count, because the normalisation statistics contain
            the known ones. ``window``: all candles count, as published.
        seed: Seed of the sampled coarse tokens.

    Raises:
        ParameterError: If tokenizer and model have different token sizes, or `loss_on` is unknown.
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
            raise ParameterError(
                f"The model's tokens have {bits[0]} bits, the tokenizer's {bits[1]}: choose a tokenizer and a model "
                "that belong together."
            )
        if loss_on not in ("forecast", "window"):
            raise ParameterError(f"Invalid loss_on '{loss_on}': choose 'forecast' or 'window'.")
        self.network = network
        self.tokenizer = tokenizer.eval()
        self.teacher_forcing = teacher_forcing
        self.loss_on = loss_on
        self.seed = seed

    def describe(self) -> dict[str, Any]:
        """The options, and a hash of the tokenizer."""
        options = {"teacher_forcing": self.teacher_forcing, "loss_on": self.loss_on, "draws": self.seed}
        return {"objective": "model", **options, "tokenizer": weights_digest(self.tokenizer)}

    def losses(self, batch: Batch, *, training: bool) -> Losses:
        """Mean of both cross-entropies, and each of them as a part."""
        s1, s2 = self._cross_entropies(batch, training=training, rows=self._rows(batch))
        mask = self._loss_mask(batch, s1.shape[1])
        means = {"s1": _masked_mean(s1, mask).mean(), "s2": _masked_mean(s2, mask).mean()}
        return Losses((means["s1"] + means["s2"]) / 2, {name: value.detach() for name, value in means.items()})

    def per_sample(self, batch: Batch) -> Tensor:
        """Mean of both teacher-forced cross-entropies over the positions that count, for each sample ``[B]``."""
        s1, s2 = self._cross_entropies(batch, training=False, rows=self._rows(batch))
        return _masked_mean((s1 + s2) / 2, self._loss_mask(batch, s1.shape[1]))

    def per_position(self, batch: Batch) -> Tensor:
        """Mean of both teacher-forced cross-entropies of every candle but the first, ``[B, L - 1]``."""
        s1, s2 = self._cross_entropies(batch, training=False, rows=batch.x.shape[1] - 1)
        return (s1 + s2) / 2

    def _rows(self, batch: Batch) -> int:
        """Number of last rows that contain all those that count."""
        length = batch.x.shape[1]
        return length - (1 if self.loss_on == "window" else int(batch.known.min()))

    def _loss_mask(self, batch: Batch, rows: int) -> Tensor:
        """1 for each of the last rows that counts, else 0, ``[B, P]``."""
        length = batch.x.shape[1]
        predicted = torch.arange(length - rows, length)
        known = batch.known.cpu() if self.loss_on == "forecast" else torch.zeros(len(batch.x), dtype=torch.long)
        return (predicted >= known[:, None]).float().to(batch.x.device)

    def _cross_entropies(self, batch: Batch, *, training: bool, rows: int) -> tuple[Tensor, Tensor]:
        """Cross-entropies of both tokens of the last rows, ``[B, P]`` each, in nats."""
        network = self.network
        s1, s2 = self._encode(batch.x)
        states = network.states(s1[:, :-1], s2[:, :-1], batch.stamp[:, :-1])
        with _head_autocast(batch.x.device, training):
            logits = network.head(states[:, -rows:]).float()
            targets = s1[:, -rows:]
            sampled = training and not self.teacher_forcing
            coarse = self._sample_coarse(logits, batch.row) if sampled else targets
            dependent = network.dep_layer(states, network.embedding.emb_s1(coarse))
            fine_logits = network.head.cond_forward(dependent).float()
        return _cross_entropy(logits, targets), _cross_entropy(fine_logits, s2[:, -rows:])

    @torch.no_grad()
    def _encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Coarse and fine tokens, ``[B, L]`` each."""
        if self.tokenizer.head.weight.device != x.device:
            self.tokenizer.to(x.device)
        with full_precision(x.device):
            s1, s2 = self.tokenizer.encode(x, half=True)
        return s1, s2

    @torch.no_grad()
    def _sample_coarse(self, logits: Tensor, row: Tensor) -> Tensor:
        """Sample coarse tokens ``[B, P]`` from logits ``[B, P, V]`` by inverting their distribution function."""
        positions = torch.arange(logits.shape[1], device=logits.device).flip(0)  # from the window's end
        u = keyed_uniforms(self.seed, row.to(logits.device), positions)[..., None]
        cdf = logits.softmax(-1).cumsum(-1)
        return torch.searchsorted(cdf, u * cdf[..., -1:], right=True).squeeze(-1).clamp_(max=logits.shape[-1] - 1)


def check_causality(objective: ModelObjective, batch: Batch) -> None:
    """Check that no loss depends on later candles, through the network or the tokenizer.

    The second half of every window is replaced; the losses of the earlier candles must not change.

    Args:
        objective: Objective with its networks in evaluation mode.
        batch: A few samples on the network's device.

    Raises:
        ParameterError: If a loss changes.
    """
    half = max(batch.x.shape[1] // 2, 2)  # the first candle has no loss
    other = batch.x.clone()
    other[:, half:] = -other[:, half:].flip(1) + 0.5
    with torch.no_grad():
        before, after = (objective.per_position(inputs) for inputs in (batch, _with_candles(batch, other)))
    change = (before - after)[:, : half - 1].abs().max().item()  # of the candles before the half
    if change > 1e-4:
        raise ParameterError(
            f"The loss of a candle changes by {change:.2g} nats with later candles: the network or the tokenizer looks "
            "ahead, and no validation would be reliable. Make their attention causal."
        )


def check_normalisation(objective: Objective, *datasets: WindowDataset) -> None:
    """Check that samples are normalised as the tokenizer expects, because the predictor follows its record.

    Args:
        objective: Objective with the tokenizer.
        datasets: The samples.

    Raises:
        ParameterError: If they are not.
    """
    tokenizer = objective.tokenizer if isinstance(objective, ModelObjective) else objective.network
    expected = getattr(tokenizer, "normalisation", None)
    for dataset in datasets:
        actual = dataset.settings.normalisation
        if expected not in (None, actual):
            raise ParameterError(
                f"The {dataset.part} windows are normalised by '{actual}', but the tokenizer expects '{expected}': "
                f"create them with normalisation='{expected}'."
            )


def _with_candles(batch: Batch, x: Tensor) -> Batch:
    return Batch(x=x, stamp=batch.stamp, known=batch.known, step=batch.step, row=batch.row)


def _head_autocast(device: torch.device, training: bool) -> torch.autocast:
    """Precision of the heads: unchanged in training; float32 in validation, whose logits must not be rounded."""
    active = torch.is_autocast_enabled(device.type)
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=active and training)


def _cross_entropy(logits: Tensor, ids: Tensor) -> Tensor:
    """Nats ``[B, P]`` of ids ``[B, P]`` under logits ``[B, P, V]``."""
    return F.cross_entropy(logits.flatten(0, 1), ids.flatten(), reduction="none").view(ids.shape)


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Means ``[B]`` of values ``[B, P]`` where the mask is 1."""
    return (values * mask).sum(1) / mask.sum(1).clamp(min=1)
