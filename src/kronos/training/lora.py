"""LoRA: fine-tuning two low-rank factors next to frozen weights (Hu et al. 2021, "LoRA: Low-Rank Adaptation").

- An adapted layer is still a linear layer. Its own weight keeps its name in the state dict; the factors are
  ``lora_A.weight`` and ``lora_B.weight``.
- ``layer.weight`` is the effective weight, W + (α/r)·B·A. The decoding engine packs weights and never calls layers, so
  a network forecasts with its adapter, merged or not.
- Adding, merging and loading return a copy and leave the given network unchanged.
- Adapters are stored in the format of the PEFT library. The weights file also has a hash of the base weights, because
  an adapter loaded on other weights of the same shape would fail silently.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from kronos import atomic
from kronos.errors import CheckpointError, ParameterError
from kronos.nn.model import FixedEmbedding
from kronos.nn.pretrained import PretrainedMixin
from kronos.zoo.checkpoint import PICKLES, read_json

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_BASE = "kronos_base_sha256"
_KEY = re.compile(r"base_model\.model\.(?P<layer>.+)\.lora_(?P<factor>[AB])\.weight")
# PEFT's configuration of plain LoRA; every release of PEFT has these keys.
_PLAIN: Mapping[str, Any] = {
    "peft_type": "LORA",
    "bias": "none",
    "fan_in_fan_out": False,
    "use_rslora": False,
    "use_dora": False,
    "rank_pattern": {},
    "alpha_pattern": {},
    "modules_to_save": None,
    "init_lora_weights": True,
}
# Keys of LoRA variants that compute something else if they are set.
_VARIANT_KEYS = (
    "lora_bias",
    "use_qalora",
    "use_bdlora",
    "alora_invocation_tokens",
    "arrow_config",
    "layer_replication",
)
# Other initialisations change the base weights as well (PiSSA, OLoRA, CorDA …).
_INITIALISATIONS = (True, False, "gaussian", "orthogonal")

Network = TypeVar("Network", bound=PretrainedMixin)


class LoRA(BaseModel):
    """LoRA settings.

    Attributes:
        rank: Rank r of the two factors.
        alpha: Scale α: the product of the factors is multiplied by α/r.
        dropout: Dropout of the factors' input in training.
        targets: Linear layers to adapt, by the end of their path: ``q_proj``, ``ffn.w1``, ``head.proj_s1``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rank: Annotated[int, Field(ge=1)] = 8
    alpha: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 16
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: Annotated[tuple[str, ...], Field(min_length=1)] = ("q_proj", "k_proj", "v_proj", "out_proj")

    def matches(self, path: str) -> bool:
        """Whether the layer at a path is one of the targets."""
        return any(path == target or path.endswith(f".{target}") for target in self.targets)


class LoRALinear(nn.Linear):
    """A frozen linear layer with an adapter.

    Args:
        base: The layer; its parameters are shared, not copied.
        lora: Rank, scale and dropout.
    """

    def __init__(self, base: nn.Linear, lora: LoRA) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = base.in_features, base.out_features
        self.scale, self.rank, self.alpha = lora.alpha / lora.rank, lora.rank, lora.alpha
        assert isinstance(base.weight, nn.Parameter)
        # Not by assignment: `weight` is a property here, but the parameter keeps its name in checkpoints.
        self._parameters["weight"] = base.weight
        self.register_parameter("bias", base.bias)
        self.lora_dropout = nn.Dropout(lora.dropout)
        self.lora_A = _factor(self.in_features, lora.rank, base.weight)
        self.lora_B = _factor(lora.rank, self.out_features, base.weight)

    @property
    def frozen(self) -> nn.Parameter:
        """The base weight ``[out, in]``."""
        weight = self._parameters["weight"]
        assert weight is not None  # set by the constructor
        return weight

    @property
    def weight(self) -> Tensor:  # type: ignore[override]  # a parameter in nn.Linear
        """The effective weight ``[out, in]``: base plus adapter."""
        return self.frozen + self.delta().to(self.frozen.dtype)

    def delta(self) -> Tensor:
        """The adapter's contribution to the weight, ``[out, in]``, at least in float32."""
        a, b = self.lora_A.weight, self.lora_B.weight
        wide = torch.promote_types(a.dtype, torch.float32)
        return self.scale * (b.to(wide) @ a.to(wide))

    def forward(self, x: Tensor) -> Tensor:
        """``[..., in]`` to ``[..., out]``, without computing the product of the factors."""
        added = self.lora_B(self.lora_A(self.lora_dropout(x)))
        return torch.add(F.linear(x, self.frozen, self.bias), added, alpha=self.scale)


def _factor(inputs: int, outputs: int, like: Tensor) -> nn.Linear:
    """An uninitialised layer: torch's initialisation would advance its global generator."""
    return nn.Linear(inputs, outputs, bias=False, device="meta", dtype=like.dtype).to_empty(device=like.device)


def add_lora(network: Network, lora: LoRA, *, seed: int = 100) -> Network:
    """Add adapters to linear layers and freeze everything else.

    Args:
        network: A model or a tokenizer; it is not changed.
        lora: LoRA settings.
        seed: Seed of the first factor; the second is initialised with zeros, so that the output is unchanged at first.

    Returns:
        A copy with adapters, whose only trainable parameters are the factors.

    Raises:
        ParameterError: If the network already has adapters, or a target is not one of its linear layers.
    """
    if is_adapted(network):
        raise ParameterError("The network already has adapters: merge them before adding others.")
    linear = [path for path, layer in network.named_modules() if isinstance(layer, nn.Linear)]
    for target in lora.targets:
        if not any(LoRA(targets=(target,)).matches(path) for path in linear):
            names = ", ".join(sorted({path.rpartition(".")[2] for path in linear}))
            raise ParameterError(f"The {network.kind} has no linear layer '{target}': choose from {names}.")
    adapted = _wrap(network, {path: lora for path in linear if lora.matches(path)})
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, layer in _adapters(adapted):
            # Initialised as in PEFT; sampled on the CPU, so that all devices get the same values.
            bound = 1 / math.sqrt(layer.in_features)
            values = torch.empty(layer.rank, layer.in_features).uniform_(-bound, bound, generator=generator)
            layer.lora_A.weight.copy_(values)
            layer.lora_B.weight.zero_()
    return adapted


def is_adapted(network: nn.Module) -> bool:
    """Whether a network has unmerged adapters."""
    return any(True for _ in _adapters(network))


def merge_lora(network: Network) -> Network:
    """Merge the adapters into the base weights.

    Args:
        network: A network with adapters; it is not changed.

    Returns:
        A copy without adapters that computes the same up to rounding, with trainable parameters and the original names
        in its state dict.

    Raises:
        ParameterError: If the network has no adapters.
    """
    if not is_adapted(network):
        raise ParameterError("The network has no adapter to merge: call add_lora or load_adapter first.")
    result = copy.deepcopy(network)
    for path, layer in list(_adapters(result)):
        merged = nn.Linear(layer.in_features, layer.out_features, layer.bias is not None, device="meta")
        with torch.no_grad():
            layer.frozen.add_(layer.delta().to(layer.frozen.dtype))
        # In place on the same parameter, so that the network counts as changed since it was loaded.
        merged.weight, merged.bias = layer.frozen, layer.bias
        _replace(result, path, merged.train(layer.training))
    fixed = {id(p) for m in result.modules() if isinstance(m, FixedEmbedding) for p in m.parameters()}
    for parameter in result.parameters():
        parameter.grad = None
        parameter.requires_grad_(id(parameter) not in fixed)
    return result


def save_adapter(network: PretrainedMixin, folder: str | Path, *, base: str | None = None) -> Path:
    """Save a network's adapters in the format of the PEFT library.

    Args:
        network: A network with adapters.
        folder: Folder for ``adapter_config.json`` and ``adapter_model.safetensors``, created if missing.
        base: Reference to the base weights: a name, a hub id or a folder; by default the one the network was loaded
            from.

    Returns:
        The folder.

    Raises:
        ParameterError: If the network has no adapters.
        StorageError: If the file system refuses.
    """
    layers = dict(_adapters(network))
    if not layers:
        raise ParameterError("The network has no adapter to save: call add_lora first.")
    if base is None and network.located is not None:
        base = network.located.entry.name if network.located.entry else network.located.ref
    first = next(iter(layers.values()))
    config = {
        **_PLAIN,
        "task_type": None,
        "base_model_name_or_path": base,
        "revision": network.located.revision if network.located else None,
        "inference_mode": True,
        "r": first.rank,
        "lora_alpha": first.alpha,
        "lora_dropout": first.lora_dropout.p,
        "target_modules": sorted(layers),
    }
    factors = {
        f"base_model.model.{path}.lora_{name}.weight": factor.weight.detach().cpu().contiguous()
        for path, layer in layers.items()
        for name, factor in (("A", layer.lora_A), ("B", layer.lora_B))
    }
    target = Path(folder)
    metadata = {"format": "pt", _BASE: _fingerprint(network)}
    atomic.write_bytes(target / WEIGHTS, save(factors, metadata=metadata))
    atomic.write_text(target / CONFIG, json.dumps(config, indent=2) + "\n")
    return target


def load_adapter(network: Network, folder: str | Path, *, merge: bool = True) -> Network:
    """Load stored adapters into the network they were trained with.

    Args:
        network: The base network; it is not changed.
        folder: Folder written by `save_adapter` or PEFT.
        merge: Whether to merge the adapters into the weights. Unmerged adapters can be trained further; forecasts are
            the same either way.

    Returns:
        A copy of the network with the adapters.

    Raises:
        CheckpointError: If files are missing or damaged, or the adapters belong to another network or are not plain
            LoRA.
        ParameterError: If the network already has adapters.
    """
    if is_adapted(network):
        raise ParameterError("The network already has adapters: merge them before loading others.")
    source = Path(folder)
    lora, base = _read_config(source)
    factors, digest = _read_factors(source)
    suffix = f" ({base})" if base else ""
    layers = dict(network.named_modules())
    for path, pair in factors.items():
        layer = layers.get(path)
        sizes = (layer.in_features, layer.out_features) if isinstance(layer, nn.Linear) else None
        if sizes is None or pair["A"].shape != (lora.rank, sizes[0]) or pair["B"].shape != (sizes[1], lora.rank):
            problem = f"layer {path} {'is missing' if sizes is None else 'has another size'}"
            raise CheckpointError(
                f"The adapter in {source} does not fit this {network.kind}: {problem}. Load its base{suffix}."
            )
    if digest is not None and digest != _fingerprint(network):
        raise CheckpointError(
            f"The adapter in {source} was trained on other weights than this {network.kind}'s: load its base{suffix}."
        )
    adapted = _wrap(network, dict.fromkeys(factors, lora))
    with torch.no_grad():
        for path, layer in _adapters(adapted):
            layer.lora_A.weight.copy_(factors[path]["A"])
            layer.lora_B.weight.copy_(factors[path]["B"])
    return merge_lora(adapted) if merge else adapted


def _wrap(network: Network, layers: Mapping[str, LoRA]) -> Network:
    """A frozen copy with uninitialised adapters at the given paths."""
    adapted = copy.deepcopy(network).requires_grad_(False)
    for path, lora in layers.items():
        base = adapted.get_submodule(path)
        assert isinstance(base, nn.Linear)  # checked by the callers
        _replace(adapted, path, LoRALinear(base, lora).train(base.training))
    return adapted


def _replace(network: nn.Module, path: str, layer: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(network.get_submodule(parent), name, layer)


def _adapters(network: nn.Module) -> Iterator[tuple[str, LoRALinear]]:
    for path, layer in network.named_modules():
        if isinstance(layer, LoRALinear):
            yield path, layer


def _fingerprint(network: PretrainedMixin) -> str:
    """SHA-256 of the base parameters: names, shapes and float32 values."""
    digest = hashlib.sha256()
    own = {id(p) for _, layer in _adapters(network) for f in (layer.lora_A, layer.lora_B) for p in f.parameters()}
    for name, parameter in sorted(network.named_parameters()):
        if id(parameter) not in own:
            digest.update(f"{name} {tuple(parameter.shape)}\n".encode())
            digest.update(parameter.detach().float().cpu().contiguous().numpy().astype("<f4", copy=False).data)
    return digest.hexdigest()


def _read_config(folder: Path) -> tuple[LoRA, str | None]:
    """Settings of an adapter, and the reference to its base."""
    path = folder / CONFIG
    if not path.is_file():
        raise CheckpointError(f"{folder} has no {CONFIG}: give the folder that the adapter was saved to.")
    config = read_json(path)
    for key, plain in {**_PLAIN, **dict.fromkeys(_VARIANT_KEYS)}.items():
        value = config.get(key, plain)
        supported = value in _INITIALISATIONS if key == "init_lora_weights" else value == plain or not (value or plain)
        if not supported:
            raise CheckpointError(
                f"{path} has {key} {json.dumps(value)}: only plain LoRA is supported; save the adapter without it."
            )
    defaults = (("r", 8), ("lora_alpha", 8), ("lora_dropout", 0))
    rank, alpha, dropout = (config.get(key, default) for key, default in defaults)
    try:
        lora = LoRA.model_validate({"rank": rank, "alpha": alpha, "dropout": dropout})
    except ValueError as error:
        sizes = f"r {rank!r}, lora_alpha {alpha!r} and lora_dropout {dropout!r}"
        raise CheckpointError(f"{path} has invalid values ({sizes}): save the adapter again.") from error
    base = config.get("base_model_name_or_path")
    return lora, base if isinstance(base, str) else None


def _read_factors(folder: Path) -> tuple[dict[str, dict[Literal["A", "B"], Tensor]], str | None]:
    """Both factors of each layer, float32, and the hash of the base weights if the file has one."""
    file = folder / WEIGHTS
    if not file.is_file():
        pickled = sorted(path.name for path in folder.glob("*") if path.suffix in PICKLES)
        found = f"only {pickled[0]}, a pickle, which can run code and is never loaded" if pickled else f"no {WEIGHTS}"
        raise CheckpointError(f"{folder} has {found}: save the adapter as {WEIGHTS}.")
    try:
        with safe_open(file, framework="pt") as opened:
            tensors = {name: opened.get_tensor(name).float() for name in opened.keys()}  # noqa: SIM118 (not a mapping)
            digest = (opened.metadata() or {}).get(_BASE)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file} is not a valid safetensors file ({error}): save or copy it again.") from error
    factors: dict[str, dict[Literal["A", "B"], Tensor]] = {}
    for name, tensor in tensors.items():
        match = _KEY.fullmatch(name)
        if match is None or tensor.ndim != 2 or not tensor.isfinite().all():
            raise CheckpointError(
                f"{file} has the invalid tensor {name}: only finite LoRA factors of linear layers are supported."
            )
        factor: Literal["A", "B"] = "A" if match["factor"] == "A" else "B"
        factors.setdefault(match["layer"], {})[factor] = tensor
    incomplete = next((path for path, pair in factors.items() if len(pair) < 2), None)
    if incomplete is not None or not factors:
        raise CheckpointError(f"{file} lacks a factor of {incomplete or 'every layer'}: save or copy it again.")
    return factors, digest
