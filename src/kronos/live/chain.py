"""The hash chain of the record: each row's hash covers the previous hash and the row's own text.

``hash = SHA-256(previous hash ‖ body)``, both as UTF-8 bytes, the hashes as 64 hexadecimal digits. The body is JSON
that is written once and stored as text: what is hashed is what is stored, never a rewritten form of it. Whoever knows a
hash can tell whether any earlier row has changed. The chain is tamper-evident, not tamper-proof: someone who controls
the database can replace all of it, but then its hashes differ from those that were published before.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

GENESIS = "0" * 64  # stands for the hash before the first row


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the chain.

    Attributes:
        seq: Number of the row, from 1, without gaps.
        kind: Kind of the entry: ``protocol``, ``forecast``, ``late``, ``missed``, ``score``, ``unresolved`` or
            ``revision``.
        series: Id of the series, from its protocol.
        origin: UTC time that the entry is about, as ISO 8601; empty for a protocol.
        body: The entry as canonical JSON; it repeats the fields above.
        hash: Hash of the row.
    """

    seq: int
    kind: str
    series: str
    origin: str
    body: str
    hash: str


def canonical_json(value: Mapping[str, Any]) -> str:
    """Encode a value as JSON with sorted keys, without spaces, in ASCII; NaN and infinities are refused.

    Raises:
        ValueError: If a number is not finite.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def chain_hash(previous: str, body: str) -> str:
    """Compute the hash of a row from the previous row's hash and its body."""
    return hashlib.sha256((previous + body).encode("utf-8")).hexdigest()


def broken_links(rows: Iterable[Row], previous: str = GENESIS, start: int = 1) -> Iterator[tuple[int, str]]:
    """Yield the number of each row that does not fit the chain, and what is wrong with it.

    A row whose hash is wrong is reported once; the following rows are compared with the stored hash.

    Args:
        rows: Rows in ascending order of their numbers.
        previous: Hash before the first of them.
        start: Expected number of the first of them.
    """
    expected = start
    for row in rows:
        if row.seq != expected:
            gap = f"rows {expected}–{row.seq - 1} are missing" if row.seq > expected else "its number is not ascending"
            yield row.seq, gap
        if chain_hash(previous, row.body) != row.hash:
            yield row.seq, "its hash does not follow from its text and the previous hash"
        previous, expected = row.hash, row.seq + 1
