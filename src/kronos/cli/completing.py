"""Names that complete options where a shell asks for them."""

from __future__ import annotations

from kronos.cli.requests import PRESETS


def model_names(incomplete: str) -> list[str]:
    """Names that complete ``--model``."""
    from kronos.zoo import catalogue

    return [one.name for one in catalogue() if one.kind == "model" and one.name.startswith(incomplete.lower())]


def preset_names(incomplete: str) -> list[str]:
    """Names that complete ``--preset``."""
    return [name for name in PRESETS if name.startswith(incomplete)]


def baseline_names(incomplete: str) -> list[str]:
    """Names that complete ``--baseline``, ``--reference`` and ``--pool-with``."""
    from kronos.baselines import BASELINES

    return [name for name in BASELINES if name.startswith(incomplete)]
