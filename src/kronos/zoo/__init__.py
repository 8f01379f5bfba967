"""The zoo: names, sizes and pairings of checkpoints; finding, downloading and caching them (no torch)."""

from kronos.progress import ProgressCallback
from kronos.zoo.catalog import (
    DEFAULT_MODEL,
    CatalogEntry,
    Cutoffs,
    Normalisation,
    S2Attention,
    find,
    list_checkpoints,
    nearest,
)
from kronos.zoo.checkpoint import Config, Kind, check_folder, config_keys, count_parameters, read_config
from kronos.zoo.hub import cache_root, endpoint
from kronos.zoo.resolve import (
    Cached,
    CheckpointRef,
    Pairing,
    cached,
    download,
    normalisation_of,
    read_pairing,
    resolve_checkpoint,
    trained_and_selected_until,
    trained_until,
)

__all__ = [
    "DEFAULT_MODEL",
    "Cached",
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
    "cached",
    "check_folder",
    "config_keys",
    "count_parameters",
    "download",
    "endpoint",
    "find",
    "list_checkpoints",
    "nearest",
    "normalisation_of",
    "read_config",
    "read_pairing",
    "resolve_checkpoint",
    "trained_and_selected_until",
    "trained_until",
]
