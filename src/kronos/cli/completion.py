"""Shell completion: the names that a command's options and arguments can take.

Names are looked up only when the shell asks for them, so that ``--help`` loads nothing heavy.
"""

from __future__ import annotations

from collections.abc import Iterable

PRESET_NAMES = (
    "default", "conservative", "aggressive", "published", "paper-price", "paper-volatility", "paper-synthetic",
)  # fmt: skip
_CALENDARS = ("24/7", "FX", "XNYS", "XSHG", "XHKG", "XTKS", "XLON", "CN-FUTURES", "inferred")


def complete_model(incomplete: str) -> list[str]:
    """Complete the name of a model."""
    from kronos.zoo import list_checkpoints

    names = [entry.name for entry in list_checkpoints() if entry.kind == "model"]
    return _starting_with(incomplete.lower(), names)


def complete_checkpoint(incomplete: str) -> list[str]:
    """Complete the name of a model or tokenizer."""
    from kronos.zoo import list_checkpoints

    return _starting_with(incomplete.lower(), [entry.name for entry in list_checkpoints()])


def complete_baseline(incomplete: str) -> list[str]:
    """Complete the name of a baseline."""
    from kronos.baselines import BASELINES

    return _starting_with(incomplete, BASELINES)


def complete_preset(incomplete: str) -> list[str]:
    """Complete the name of a sampling preset."""
    return _starting_with(incomplete, PRESET_NAMES)


def complete_calendar(incomplete: str) -> list[str]:
    """Complete the name of a common trading calendar; the code of every exchange is valid too."""
    return [name for name in _CALENDARS if name.lower().startswith(incomplete.lower())]


def complete_config(incomplete: str) -> list[str]:
    """Complete the name of a dataset configuration."""
    from kronos.datasets import list_configs

    return _starting_with(incomplete.lower(), [entry.name for entry in list_configs()])


def complete_training_config(incomplete: str) -> list[str]:
    """Complete the name of a configuration for training."""
    from kronos.datasets import list_configs

    return _starting_with(incomplete.lower(), [entry.name for entry in list_configs(training=True)])


def complete_simulated_market(incomplete: str) -> list[str]:
    """Complete the name of a simulated market."""
    from kronos.sources.simulation import MARKETS

    return _starting_with(incomplete.lower(), MARKETS)


def _starting_with(prefix: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(prefix)]
