"""A baseline beside a model: how much it sees, and its own draws, the same wherever the two stand together."""

from __future__ import annotations

import hashlib

WINDOW = 513  # candles of history that a baseline sees at most: 512 returns


def own_seed(seed: int, name: str) -> int:
    """A seed of an origin's own: with one for all, every origin would err with the same draws, and means with them.

    Args:
        seed: Of the model's draws.
        name: What keys them.
    """
    return int.from_bytes(hashlib.blake2b(f"{seed}|{name}".encode(), digest_size=6).digest(), "big")
