"""The checkpoints that have a name: their sizes, contexts, pairings and pinned revisions.

- Published ones are listed as published; those with a revision and a sha256 are held to them when downloaded.
- Kronos-large was never published: its entry is an architecture to construct, without weights.
- The bundled model describes itself: its entry is read from the folder that ships with the package.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from kronos.errors import CheckpointError
from kronos.zoo.checkpoint import Config, Kind, check_config, count_parameters

ALL = "all"

Cutoffs = Mapping[str, str]


def read_cutoffs(path: Path, record: Mapping[str, object], key: str) -> Cutoffs:
    """Read the cut-offs that a record has under a key: one date, or dates by market.

    Args:
        path: Of the record, for errors.
        record: The content of a ``kronos.json``.
        key: ``trained_until`` or ``selected_until``.

    Returns:
        Dates such as ``2024-07-01`` by market or ``all``; empty when the record says nothing.

    Raises:
        CheckpointError: If it says something else than dates.
    """
    value = record.get(key)
    if value is None:
        return {}
    told: Mapping[Any, Any] = value if isinstance(value, dict) else {ALL: value}
    try:
        return {str(market): date.fromisoformat(day).isoformat() for market, day in told.items()}
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} has {key} = {value!r}, which must be a date such as 2024-07-01, or dates by market; correct it."
        ) from error


def cutoff(told: Cutoffs, market: str) -> str:
    """The date of one market.

    Args:
        told: By market or ``all``, not empty.
        market: One that is not listed has the date of ``all``, or else the latest: its candles may be among the others'
            by another name.
    """
    return told.get(market) or told.get(ALL) or max(told.values())


def latest(*everybody: Cutoffs) -> Cutoffs:
    """By market the latest date of several; those that say nothing don't count."""
    told = [one for one in everybody if one]
    return {market: max(cutoff(one, market) for one in told) for market in sorted({key for one in told for key in one})}


S2Attention = Literal["published", "causal"]
Normalisation = Literal["spread", "steps"]

DEFAULT_MODEL = "kronos-nano"
BUNDLED = Path(__file__).parent / "bundled"
_OWNER = "NeoQuasar"
_BUNDLED_TOKENIZER = "kronos-tokenizer-nano"
_MAPPINGS = ("config", "trained_until", "selected_until")  # fields that nobody may change
# The published weights were trained on candles up to the end of June 2024, of every market.
_PUBLISHED_UNTIL: Cutoffs = MappingProxyType({ALL: "2024-07-01"})
_UNKNOWN: Cutoffs = MappingProxyType({})


@dataclass(frozen=True)
class CatalogEntry:
    """One checkpoint that has a name.

    Attributes:
        name: Zoo name, in small letters.
        hub_id: Repository on the hub; None when there is none.
        kind: ``model`` or ``tokenizer``.
        tokenizer: Zoo name of the tokenizer a model was trained with; None for tokenizers.
        context: Longest history plus forecast in candles; None for tokenizers.
        parameters: How many numbers were trained.
        config: The constructor's arguments.
        revision: The commit whose numbers are known; None takes the newest.
        sha256: Of ``model.safetensors`` at that revision.
        licence: Of the weights.
        published: Weights can be had from the hub.
        bundled: Weights ship with this package.
        s2_attention: Form of the s2 cross-attention that the checkpoint is right with.
        trained_until: By market, or ``all``, the first date whose candles it was not trained on; empty when nothing
            is known, or there are no weights.
        selected_until: Likewise, the first date whose candles did not choose it among others.
    """

    name: str
    hub_id: str | None
    kind: Kind
    tokenizer: str | None
    context: int | None
    parameters: int
    config: Config = field(repr=False)
    revision: str | None
    sha256: str | None
    licence: str
    published: bool
    bundled: bool
    s2_attention: S2Attention
    trained_until: Cutoffs
    selected_until: Cutoffs

    @property
    def title(self) -> str:
        """The name as published, for example ``Kronos-small``."""
        return self.hub_id.split("/")[1] if self.hub_id else self.name.replace("kronos", "Kronos", 1)

    def __reduce__(self) -> tuple[object, ...]:
        """Entries travel to other processes; a mapping proxy by itself doesn't."""
        fields = {name: dict(value) if name in _MAPPINGS else value for name, value in vars(self).items()}
        return _restored, (fields,)

    @property
    def folder(self) -> Path | None:
        """Where a bundled checkpoint lies; None for the others."""
        return BUNDLED / DEFAULT_MODEL / self.kind if self.bundled else None


def _restored(fields: Mapping[str, Any]) -> CatalogEntry:
    return CatalogEntry(**{**fields, **{name: MappingProxyType(dict(fields[name])) for name in _MAPPINGS}})


def list_checkpoints() -> tuple[CatalogEntry, ...]:
    """List every checkpoint that has a name: the bundled ones first, then models by size, then tokenizers."""
    return (*_bundled(), *_PUBLISHED)


def find(ref: str) -> CatalogEntry | None:
    """Look a checkpoint up by zoo name or hub id, in any case.

    Args:
        ref: ``kronos-small``, ``Kronos-small`` or ``NeoQuasar/Kronos-small``.

    Returns:
        Its entry, or None when no checkpoint is called so.
    """
    wanted = _plain(ref)
    for entry in list_checkpoints():
        if wanted in (entry.name, _plain(entry.hub_id or entry.name)):
            return entry
    return None


def nearest(ref: str) -> str | None:
    """Suggest the name that was probably meant; None when nothing is near."""
    wanted = _plain(ref)
    names = [entry.name for entry in list_checkpoints()]
    if wanted.startswith(f"{_OWNER.lower()}/"):
        wanted = wanted.split("/", 1)[1]
    near = difflib.get_close_matches(wanted, names, n=1, cutoff=0.6)
    return near[0] if near else None


def _plain(ref: str) -> str:
    return ref.strip().lower().replace("_", "-").replace(" ", "-")


def _model(size: str, tokenizer: str, context: int, shape: Mapping[str, int], dropouts: Config) -> CatalogEntry:
    """Make the entry of one of the four published architectures."""
    config = {"s1_bits": 10, "s2_bits": 10, **shape, **dropouts, "learn_te": True}
    published = size != "large"
    revision, sha256 = _PINNED.get(f"kronos-{size}", (None, None))
    return CatalogEntry(
        name=f"kronos-{size}",
        hub_id=f"{_OWNER}/Kronos-{size}" if published else None,
        kind="model",
        tokenizer=tokenizer,
        context=context,
        parameters=count_parameters(config, "model"),
        config=MappingProxyType(config),
        revision=revision,
        sha256=sha256,
        licence="MIT",
        published=published,
        bundled=False,
        s2_attention="published",
        trained_until=_PUBLISHED_UNTIL if published else _UNKNOWN,
        selected_until=_UNKNOWN,
    )


def _tokenizer(size: str) -> CatalogEntry:
    """Make the entry of a published tokenizer; both have the same shape."""
    name = f"kronos-tokenizer-{size}"
    revision, sha256 = _PINNED.get(name, (None, None))
    return CatalogEntry(
        name=name,
        hub_id=f"{_OWNER}/Kronos-Tokenizer-{size}",
        kind="tokenizer",
        tokenizer=None,
        context=None,
        parameters=count_parameters(_TOKENIZER_CONFIG, "tokenizer"),
        config=MappingProxyType(_TOKENIZER_CONFIG),
        revision=revision,
        sha256=sha256,
        licence="MIT",
        published=True,
        bundled=False,
        s2_attention="published",
        trained_until=_PUBLISHED_UNTIL,
        selected_until=_UNKNOWN,
    )


def _shape(n_layers: int, d_model: int, n_heads: int, ff_dim: int) -> dict[str, int]:
    return {"n_layers": n_layers, "d_model": d_model, "n_heads": n_heads, "ff_dim": ff_dim}


def _dropouts(ffn: float, attn: float, resid: float, token: float) -> dict[str, float]:
    return {
        "ffn_dropout_p": ffn,
        "attn_dropout_p": attn,
        "resid_dropout_p": resid,
        "token_dropout_p": token,
    }


_PINNED = {
    "kronos-small": (
        "901c26c1332695a2a8f243eb2f37243a37bea320",
        "b082dfcbd8e8c142a725c8bbb99781802f38fec81210e13479effb32b3c3e020",
    ),
    "kronos-tokenizer-base": (
        "0e0117387f39004a9016484a186a908917e22426",
        "59d85f6af76a2c3b8240ea06cb21db4213b4eeca053f246b23e29cf832fc6bee",
    ),
}
_TOKENIZER_CONFIG: dict[str, int | float] = {
    **{"d_in": 6, "d_model": 256, "n_heads": 4, "ff_dim": 512, "n_enc_layers": 4, "n_dec_layers": 4},
    **{"ffn_dropout_p": 0.0, "attn_dropout_p": 0.0, "resid_dropout_p": 0.0, "s1_bits": 10, "s2_bits": 10},
    **{"beta": 0.05, "gamma0": 1.0, "gamma": 1.1, "zeta": 0.05, "group_size": 4},
}
_SMALL_DROPOUTS = _dropouts(ffn=0.25, attn=0.1, resid=0.25, token=0.1)
_BASE_DROPOUTS = _dropouts(ffn=0.2, attn=0.0, resid=0.2, token=0.0)
_PUBLISHED = (
    _model("mini", "kronos-tokenizer-2k", 2048, _shape(4, 256, 4, 512), _BASE_DROPOUTS),
    _model("small", "kronos-tokenizer-base", 512, _shape(8, 512, 8, 1024), _SMALL_DROPOUTS),
    _model("base", "kronos-tokenizer-base", 512, _shape(12, 832, 16, 2048), _BASE_DROPOUTS),
    # large's dropouts were not published; those of base are the nearest guess
    _model("large", "kronos-tokenizer-base", 512, _shape(18, 1664, 32, 3072), _BASE_DROPOUTS),
    _tokenizer("2k"),
    _tokenizer("base"),
)


def _bundled() -> tuple[CatalogEntry, ...]:
    """Read the entries of the bundled model and its tokenizer; none when this installation lacks them."""
    root = BUNDLED / DEFAULT_MODEL
    if not (root / "model" / "config.json").is_file() or not (root / "tokenizer" / "config.json").is_file():
        return ()
    record = _read(root / "model" / "kronos.json")
    return (
        _bundled_entry("model", DEFAULT_MODEL, _BUNDLED_TOKENIZER, record),
        _bundled_entry("tokenizer", _BUNDLED_TOKENIZER, None, _read(root / "tokenizer" / "kronos.json") or record),
    )


def _bundled_entry(kind: Kind, name: str, tokenizer: str | None, record: Mapping[str, object]) -> CatalogEntry:
    path = BUNDLED / DEFAULT_MODEL / kind / "config.json"
    recorded = BUNDLED / DEFAULT_MODEL / kind / "kronos.json"
    config = check_config(_read(path), kind, str(path))
    context = record.get("context", 512)
    return CatalogEntry(
        name=name,
        hub_id=None,
        kind=kind,
        tokenizer=tokenizer,
        context=context if kind == "model" and isinstance(context, int) else None,
        parameters=count_parameters(config, kind),
        config=MappingProxyType(dict(config)),
        revision=None,
        sha256=None,
        licence="MIT",
        published=False,
        bundled=True,
        s2_attention="causal" if record.get("s2_attention") == "causal" else "published",
        trained_until=MappingProxyType(dict(read_cutoffs(recorded, record, "trained_until"))),
        selected_until=MappingProxyType(dict(read_cutoffs(recorded, record, "selected_until"))),
    )


def _read(path: Path) -> Mapping[str, object]:
    content: Mapping[str, object] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return content
