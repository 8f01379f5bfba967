"""The model zoo: named checkpoints, their sizes and pairings; resolving, downloading and caching them (no torch)."""

from kronos.progress import ProgressCallback
from kronos.zoo.catalog import (
    DEFAULT_MODEL,
    CatalogEntry,
    Cutoffs,
    Normalisation,
    S2Attention,
    closest_name,
    find_entry,
    list_checkpoints,
)
from kronos.zoo.checkpoint import (
    Config,
    Kind,
    check_folder,
    checkpoint_name,
    config_keys,
    count_parameters,
    read_config,
)
from kronos.zoo.hub import cache_root, endpoint
from kronos.zoo.resolve import (
    CachedCheckpoint,
    CheckpointRef,
    Pairing,
    download,
    find_cached,
    read_normalisation,
    read_pairing,
    resolve_checkpoint,
    trained_and_selected_until,
    trained_until,
)

__all__ = [
    "DEFAULT_MODEL",
    "CachedCheckpoint",
    "CatalogEntry",
    "CheckpointRef",
    "Config",
    "Cutoffs",
    "Kind",
    "Normalisation",
    "Pairing",
    "ProgressCallback",
    "S2Attention",
    "cache_root",
    "check_folder",
    "checkpoint_name",
    "closest_name",
    "config_keys",
    "count_parameters",
    "download",
    "endpoint",
    "find_cached",
    "find_entry",
    "list_checkpoints",
    "read_config",
    "read_normalisation",
    "read_pairing",
    "resolve_checkpoint",
    "trained_and_selected_until",
    "trained_until",
]
