"""LoRA: fine-tuning two thin factors beside frozen weights (Hu et al. 2021, "LoRA: Low-Rank Adaptation").

Notable here:
- an adapted layer is still a linear layer. Its own weight keeps its name in the state dict, the factors stand beside it
  as ``lora_A.weight`` and ``lora_B.weight``;
- what is read as ``layer.weight`` is the weight in effect, W + (α/r)·B·A. The decoding engine packs weights and never
  calls layers, so a network forecasts with its adapter, merged or not;
- nothing that is given is changed: adding, merging and loading return a copy;
- adapters are stored as the PEFT library stores them. Beside that, the weights file remembers a hash of the base: an
  adapter beside other weights of the same shape would do harm without a word.
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
# What PEFT's configuration says of plain LoRA; every release of it knows these keys.
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
# Keys of relatives of LoRA that compute something else wherever they are set.
_RELATIVES = ("lora_bias", "use_qalora", "use_bdlora", "alora_invocation_tokens", "arrow_config", "layer_replication")
# Other starts than these change the base's weights as well (PiSSA, OLoRA, CorDA …).
_STARTS = (True, False, "gaussian", "orthogonal")

Network = TypeVar("Network", bound=PretrainedMixin)


class LoRA(BaseModel):
    """What is adapted, and how strongly.

    Attributes:
        rank: Width of the two factors, r.
        alpha: Their product counts α/r times.
        dropout: Of what goes into them, in training.
        targets: Names of the linear layers, each the end of a layer's path: ``q_proj``, ``ffn.w1``, ``head.proj_s1``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rank: Annotated[int, Field(ge=1)] = 8
    alpha: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 16
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: Annotated[tuple[str, ...], Field(min_length=1)] = ("q_proj", "k_proj", "v_proj", "out_proj")

    def means(self, path: str) -> bool:
        """Whether the layer of that path is one of the targets."""
        return any(path == target or path.endswith(f".{target}") for target in self.targets)


class LoRALinear(nn.Linear):
    """A frozen linear layer with an adapter beside it.

    Args:
        base: The layer; its parameters are taken over, not copied.
        lora: Rank, strength and dropout.
    """

    def __init__(self, base: nn.Linear, lora: LoRA) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = base.in_features, base.out_features
        self.scale, self.rank, self.alpha = lora.alpha / lora.rank, lora.rank, lora.alpha
        assert isinstance(base.weight, nn.Parameter)
        # Not by assignment: `weight` is a property here, while the parameter keeps the name it has in checkpoints.
        self._parameters["weight"] = base.weight
        self.register_parameter("bias", base.bias)
        self.lora_dropout = nn.Dropout(lora.dropout)
        self.lora_A = _factor(self.in_features, lora.rank, base.weight)
        self.lora_B = _factor(lora.rank, self.out_features, base.weight)

    @property
    def frozen(self) -> nn.Parameter:
        """The base's own weight ``[out, in]``."""
        weight = self._parameters["weight"]
        assert weight is not None  # the constructor put it there
        return weight

    @property
    def weight(self) -> Tensor:  # type: ignore[override]  # a parameter where nothing is adapted
        """The weight in effect ``[out, in]``, as anything that reads it from outside should see it."""
        return self.frozen + self.delta().to(self.frozen.dtype)

    def delta(self) -> Tensor:
        """What the adapter adds to the weight, ``[out, in]``, in float32 at least."""
        a, b = self.lora_A.weight, self.lora_B.weight
        wide = torch.promote_types(a.dtype, torch.float32)
        return self.scale * (b.to(wide) @ a.to(wide))

    def forward(self, x: Tensor) -> Tensor:
        """``[..., in]`` to ``[..., out]``, without ever making the product of the factors."""
        added = self.lora_B(self.lora_A(self.lora_dropout(x)))
        return torch.add(F.linear(x, self.frozen, self.bias), added, alpha=self.scale)


def _factor(inputs: int, outputs: int, like: Tensor) -> nn.Linear:
    """A layer without values yet; torch's own first ones would move its global generator."""
    return nn.Linear(inputs, outputs, bias=False, device="meta", dtype=like.dtype).to_empty(device=like.device)


def add_lora(network: Network, lora: LoRA, *, seed: int = 100) -> Network:
    """Put adapters beside linear layers and freeze all else.

    Args:
        network: A model or a tokenizer; it stays as it is.
        lora: What to adapt.
        seed: Of the first factor's random start; the second starts at zero, so that nothing changes at first.

    Returns:
        A copy with adapters, of which only these can be trained.

    Raises:
        ParameterError: If the network has adapters already, or a target is no linear layer of it.
    """
    if is_adapted(network):
        raise ParameterError("The network has adapters already; merge them before adding others.")
    linear = [path for path, layer in network.named_modules() if isinstance(layer, nn.Linear)]
    for target in lora.targets:
        if not any(LoRA(targets=(target,)).means(path) for path in linear):
            ends = ", ".join(sorted({path.rpartition(".")[2] for path in linear}))
            raise ParameterError(f"The {network.kind} has no linear layer '{target}' to adapt; there are {ends}.")
    adapted = _wrap(network, {path: lora for path in linear if lora.means(path)})
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, layer in _adapters(adapted):
            # As PEFT and the authors' code start them; drawn on the CPU, so that every device starts alike.
            bound = 1 / math.sqrt(layer.in_features)
            drawn = torch.empty(layer.rank, layer.in_features).uniform_(-bound, bound, generator=generator)
            layer.lora_A.weight.copy_(drawn)
            layer.lora_B.weight.zero_()
    return adapted


def is_adapted(network: nn.Module) -> bool:
    """Whether a network has adapters that are not merged."""
    return any(True for _ in _adapters(network))


def merge_lora(network: Network) -> Network:
    """Add the adapters to the weights they stand beside.

    Args:
        network: With adapters; it stays as it is.

    Returns:
        A copy without adapters that computes the same up to rounding, every parameter trainable again, and every name
        in its state dict as it was before.

    Raises:
        ParameterError: If there is nothing to merge.
    """
    if not is_adapted(network):
        raise ParameterError("The network has no adapter to merge; add_lora or load_adapter put one there.")
    plain = copy.deepcopy(network)
    for path, layer in list(_adapters(plain)):
        merged = nn.Linear(layer.in_features, layer.out_features, layer.bias is not None, device="meta")
        with torch.no_grad():
            layer.frozen.add_(layer.delta().to(layer.frozen.dtype))
        # In place, and the same parameter: so the network counts as changed since it was loaded.
        merged.weight, merged.bias = layer.frozen, layer.bias
        _replace(plain, path, merged.train(layer.training))
    fixed = {id(p) for m in plain.modules() if isinstance(m, FixedEmbedding) for p in m.parameters()}
    for parameter in plain.parameters():
        parameter.grad = None
        parameter.requires_grad_(id(parameter) not in fixed)
    return plain


def save_adapter(network: PretrainedMixin, folder: str | Path, *, base: str | None = None) -> Path:
    """Write a network's adapters, and nothing else of it, as the PEFT library does.

    Args:
        network: With adapters.
        folder: Created where missing; ``adapter_config.json`` and ``adapter_model.safetensors`` are written to it.
        base: What the adapters stand beside: a zoo name, a hub id or a folder; what the network was loaded as by
            default.

    Returns:
        The folder.

    Raises:
        ParameterError: If the network has no adapters.
        StorageError: If the file system refuses.
    """
    layers = dict(_adapters(network))
    if not layers:
        raise ParameterError("The network has no adapter to save; add_lora puts one there.")
    if base is None and network.located is not None:
        base = network.located.entry.name if network.located.entry else network.located.ref
    one = next(iter(layers.values()))
    config = {
        **_PLAIN,
        "task_type": None,
        "base_model_name_or_path": base,
        "revision": network.located.revision if network.located else None,
        "inference_mode": True,
        "r": one.rank,
        "lora_alpha": one.alpha,
        "lora_dropout": one.lora_dropout.p,
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
    """Put stored adapters beside the network they were trained with.

    Args:
        network: The base; it stays as it is.
        folder: What `save_adapter` or PEFT wrote.
        merge: Whether to add them to the weights, which leaves a plain network. Kept apart they can be trained further;
            forecasts are the same either way.

    Returns:
        A copy of the network with the adapters.

    Raises:
        CheckpointError: If files are missing or damaged, or the adapters are another network's or no plain LoRA.
        ParameterError: If the network has adapters already.
    """
    if is_adapted(network):
        raise ParameterError("The network has adapters already; merge them before loading others.")
    source = Path(folder)
    lora, base = _read_config(source)
    factors, digest = _read_factors(source)
    said = f" ({base})" if base else ""
    layers = dict(network.named_modules())
    for path, pair in factors.items():
        layer = layers.get(path)
        sizes = (layer.in_features, layer.out_features) if isinstance(layer, nn.Linear) else None
        if sizes is None or pair["A"].shape != (lora.rank, sizes[0]) or pair["B"].shape != (sizes[1], lora.rank):
            wrong = f"its layer {path} is {'missing' if sizes is None else 'of another size'} there"
            raise CheckpointError(f"The adapter in {source} does not fit this {network.kind}: {wrong}; load its{said}.")
    if digest is not None and digest != _fingerprint(network):
        raise CheckpointError(
            f"The adapter in {source} was trained beside other weights than this {network.kind}'s; load its own{said}."
        )
    adapted = _wrap(network, dict.fromkeys(factors, lora))
    with torch.no_grad():
        for path, layer in _adapters(adapted):
            layer.lora_A.weight.copy_(factors[path]["A"])
            layer.lora_B.weight.copy_(factors[path]["B"])
    return merge_lora(adapted) if merge else adapted


def _wrap(network: Network, layers: Mapping[str, LoRA]) -> Network:
    """A frozen copy with empty adapters beside the layers of those paths."""
    adapted = copy.deepcopy(network).requires_grad_(False)
    for path, lora in layers.items():
        base = adapted.get_submodule(path)
        assert isinstance(base, nn.Linear)  # callers looked
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
    """SHA-256 of the parameters that adapters stand beside: names, shapes and float32 values."""
    digest = hashlib.sha256()
    own = {id(p) for _, layer in _adapters(network) for f in (layer.lora_A, layer.lora_B) for p in f.parameters()}
    for name, parameter in sorted(network.named_parameters()):
        if id(parameter) not in own:
            digest.update(f"{name} {tuple(parameter.shape)}\n".encode())
            digest.update(parameter.detach().float().cpu().contiguous().numpy().astype("<f4", copy=False).data)
    return digest.hexdigest()


def _read_config(folder: Path) -> tuple[LoRA, str | None]:
    """An adapter's rank and strength, and what its base is called."""
    path = folder / CONFIG
    if not path.is_file():
        raise CheckpointError(f"{folder} has no {CONFIG}, so it holds no adapter; give the folder it was saved to.")
    config = read_json(path)
    for key, plain in {**_PLAIN, **dict.fromkeys(_RELATIVES)}.items():
        found = config.get(key, plain)
        usual = found in _STARTS if key == "init_lora_weights" else found == plain or not (found or plain)
        if not usual:
            raise CheckpointError(f"{path} says {key} {json.dumps(found)}; only plain LoRA can be loaded here.")
    rank, alpha, dropout = (config.get(key, usual) for key, usual in (("r", 8), ("lora_alpha", 8), ("lora_dropout", 0)))
    try:
        lora = LoRA.model_validate({"rank": rank, "alpha": alpha, "dropout": dropout})
    except ValueError as error:
        sizes = f"r {rank!r}, lora_alpha {alpha!r} and lora_dropout {dropout!r}"
        raise CheckpointError(f"{path} has {sizes}, which no adapter can have; save it again.") from error
    base = config.get("base_model_name_or_path")
    return lora, base if isinstance(base, str) else None


def _read_factors(folder: Path) -> tuple[dict[str, dict[Literal["A", "B"], Tensor]], str | None]:
    """Both factors of each layer, float32, and the hash of the base's weights where the file has one."""
    file = folder / WEIGHTS
    if not file.is_file():
        pickled = sorted(path.name for path in folder.glob("*") if path.suffix in PICKLES)
        found = f"only {pickled[0]}, a pickle, which can run code and is never read" if pickled else f"no {WEIGHTS}"
        raise CheckpointError(f"{folder} holds {found}; save the adapter as {WEIGHTS}.")
    try:
        with safe_open(file, framework="pt") as opened:
            tensors = {name: opened.get_tensor(name).float() for name in opened.keys()}  # noqa: SIM118 (no mapping)
            digest = (opened.metadata() or {}).get(_BASE)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file} is damaged or no safetensors file ({error}); save or copy it again.") from error
    factors: dict[str, dict[Literal["A", "B"], Tensor]] = {}
    for name, tensor in tensors.items():
        match = _KEY.fullmatch(name)
        if match is None or tensor.ndim != 2 or not tensor.isfinite().all():
            raise CheckpointError(f"{file} holds {name}, which is no factor of a linear layer's LoRA.")
        factor: Literal["A", "B"] = "A" if match["factor"] == "A" else "B"
        factors.setdefault(match["layer"], {})[factor] = tensor
    lone = next((path for path, pair in factors.items() if len(pair) < 2), None)
    if lone is not None or not factors:
        raise CheckpointError(f"{file} lacks a factor of {lone or 'every layer'}; save or copy it again.")
    return factors, digest
