"""The zoo: names, sizes and pairings of checkpoints; finding, downloading and caching them (no torch)."""

from kronos.zoo.architecture import Config, Kind, config_keys, count_parameters
from kronos.zoo.cutoffs import Cutoffs
from kronos.zoo.entries import DEFAULT_MODEL, Normalisation, S2Attention, ZooEntry, catalogue, find, nearest
from kronos.zoo.folders import check_folder, read_config
from kronos.zoo.hub import Progress, cache_root, endpoint
from kronos.zoo.locating import (
    Cached,
    Located,
    Pairing,
    cached,
    describe,
    download,
    locate,
    normalisation_of,
    seen_until,
    trained_and_selected_until,
)

__all__ = [
    "DEFAULT_MODEL",
    "Cached",
    "Config",
    "Cutoffs",
    "Kind",
    "Located",
    "Normalisation",
    "Pairing",
    "Progress",
    "S2Attention",
    "ZooEntry",
    "cache_root",
    "cached",
    "catalogue",
    "check_folder",
    "config_keys",
    "count_parameters",
    "describe",
    "download",
    "endpoint",
    "find",
    "locate",
    "nearest",
    "normalisation_of",
    "read_config",
    "seen_until",
    "trained_and_selected_until",
]
