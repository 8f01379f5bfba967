"""Catalog of named checkpoints: sizes, contexts, pairings, pinned revisions and training cutoffs.

- Published checkpoints with a pinned revision and sha256 are verified when they are downloaded.
- Kronos-large was never published: its entry has an architecture but no weights.
- The entry of the bundled model is read from the folder that ships with the package.
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

Cutoffs = Mapping[str, str]
S2Attention = Literal["published", "causal"]
Normalisation = Literal["spread", "steps", "changes"]

ALL = "all"


def read_cutoffs(path: Path, record: Mapping[str, object], key: str) -> Cutoffs:
    """Read the cutoffs of a ``kronos.json``: one date, or dates by market.

    Args:
        path: Path of the record, for errors.
        record: Content of the record.
        key: ``trained_until`` or ``selected_until``.

    Returns:
        Dates such as ``2024-07-01`` by market or ``all``; empty if the record has none.

    Raises:
        CheckpointError: If the value is not a date or dates.
    """
    value = record.get(key)
    if value is None:
        return {}
    days: Mapping[Any, Any] = value if isinstance(value, dict) else {ALL: value}
    try:
        return {str(market): date.fromisoformat(day).isoformat() for market, day in days.items()}
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path}: invalid {key} {value!r}; write a date such as 2024-07-01, or dates by market."
        ) from error


def cutoff_for(cutoffs: Cutoffs, group: str) -> str:
    """The cutoff of one market, or of one interval of a market.

    Args:
        cutoffs: Dates by market or ``all``, not empty; a market's dates can differ by interval, as ``us_equity 1d``.
        group: A market such as ``us_equity``, or a market and interval such as ``us_equity 1d``. A group that is not
            listed has the date of its market; a market that is not listed has that of ``all``, or else the latest date:
            its candles may be listed under another market.
    """
    market = group.rpartition(" ")[0]
    return cutoffs.get(group) or cutoffs.get(market) or cutoffs.get(ALL) or max(cutoffs.values())


def latest_cutoffs(*sources: Cutoffs) -> Cutoffs:
    """The latest cutoff of each market; empty cutoffs are ignored."""
    known = [cutoffs for cutoffs in sources if cutoffs]
    markets = sorted({market for cutoffs in known for market in cutoffs})
    return {market: max(cutoff_for(cutoffs, market) for cutoffs in known) for market in markets}


DEFAULT_MODEL = "kronos-nano"
BUNDLED = Path(__file__).parent / "bundled"
_OWNER = "NeoQuasar"
_BUNDLED_TOKENIZER = "kronos-tokenizer-nano"
_MAPPINGS = ("config", "trained_until", "selected_until")  # fields with read-only mappings
# The published weights were trained on candles of all markets up to the end of June 2024.
_PUBLISHED_UNTIL: Cutoffs = MappingProxyType({ALL: "2024-07-01"})
_UNKNOWN: Cutoffs = MappingProxyType({})


@dataclass(frozen=True)
class CatalogEntry:
    """A named checkpoint.

    Attributes:
        name: Zoo name, in lower case.
        hub_id: Repository on the hub; None if there is none.
        kind: ``model`` or ``tokenizer``.
        tokenizer: Zoo name of the tokenizer that a model was trained with; None for tokenizers.
        context: Maximum of history plus horizon in candles; None for tokenizers.
        parameters: Number of trainable parameters.
        config: Arguments of the constructor.
        revision: Pinned commit; None for the newest.
        sha256: SHA-256 of ``model.safetensors`` at that commit.
        licence: Licence of the weights.
        published: Whether the weights can be downloaded from the hub.
        bundled: Whether the weights ship with this package.
        s2_attention: Form of the s2 cross-attention that the checkpoint was trained with.
        trained_until: First date whose candles were not used for training, by market or ``all``; empty if unknown or
            if there are no weights.
        selected_until: First date whose candles were not used for model selection, by market or ``all``.
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
        """Pickle mapping proxies, which cannot be pickled themselves, as dicts."""
        fields = {name: dict(value) if name in _MAPPINGS else value for name, value in vars(self).items()}
        return _restore, (fields,)

    @property
    def folder(self) -> Path | None:
        """Folder of a bundled checkpoint; None for others."""
        return BUNDLED / DEFAULT_MODEL / self.kind if self.bundled else None


def _restore(fields: Mapping[str, Any]) -> CatalogEntry:
    return CatalogEntry(**{**fields, **{name: MappingProxyType(dict(fields[name])) for name in _MAPPINGS}})


def list_checkpoints() -> tuple[CatalogEntry, ...]:
    """List all named checkpoints: the bundled ones first, then models by size, then tokenizers."""
    return (*_bundled(), *_PUBLISHED)


def find_entry(ref: str) -> CatalogEntry | None:
    """Find a checkpoint by zoo name or hub id in any case, such as ``kronos-small`` or ``NeoQuasar/Kronos-small``."""
    name = _normalize(ref)
    for entry in list_checkpoints():
        if name in (entry.name, _normalize(entry.hub_id or entry.name)):
            return entry
    return None


def closest_name(ref: str) -> str | None:
    """The most similar zoo name, or None if no name is similar."""
    name = _normalize(ref).removeprefix(f"{_OWNER.lower()}/")
    near = difflib.get_close_matches(name, [entry.name for entry in list_checkpoints()], n=1, cutoff=0.6)
    return near[0] if near else None


def _normalize(ref: str) -> str:
    return ref.strip().lower().replace("_", "-").replace(" ", "-")


def _model(size: str, tokenizer: str, context: int, shape: Mapping[str, int], dropouts: Config) -> CatalogEntry:
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
    """Entry of a published tokenizer; all have the same shape."""
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
    # The dropouts of large were not published; those of base are assumed.
    _model("large", "kronos-tokenizer-base", 512, _shape(18, 1664, 32, 3072), _BASE_DROPOUTS),
    _tokenizer("2k"),
    _tokenizer("base"),
)


def _bundled() -> tuple[CatalogEntry, ...]:
    """Entries of the bundled model and its tokenizer; empty if their files are missing."""
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
