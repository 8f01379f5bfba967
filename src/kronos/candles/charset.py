"""Character sets of text files: which one a file is in, decided by its bytes and by the column names it gives.

Byte-order marks and UTF-8 are certain. Other bytes are decoded with each usual character set of data vendors; the one
in which most names of columns are known is taken.
"""

from __future__ import annotations

import re

from kronos.candles.aliases import LABELS
from kronos.candles.columns import normalize_label
from kronos.errors import DataError
from kronos.formatting import Message

_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_LEGACY = ("gb18030", "big5", "cp932", "cp949", "cp1252", "cp1251")
_RARE = (  # tried if more of the names of columns are known in them
    "euc_jp", "cp1250", "iso8859_2", "cp1254", "koi8_r", "cp866", "iso8859_5", "mac_cyrillic", "mac_roman", "cp850",
)  # fmt: skip
_ESCAPES = ((b"\x1b$", "iso2022_jp"), (b"~{", "hz"))  # character sets within ASCII
_HEAD = 4096  # bytes that contain the column names
_DIGITS = 0.3  # share of bytes that are digits of EBCDIC
_ZEROS = 0.4  # share of zero bytes on one side of UTF-16 text with mostly ASCII characters


def decode(data: bytes, name: str) -> tuple[str, str]:
    r"""Decode the bytes of a text file.

    Args:
        data: The bytes.
        name: Name of the file in messages.

    Returns:
        The text with ``\n`` at the ends of lines, and the character set.

    Raises:
        DataError: If the bytes are no text.
    """
    head = data[:_HEAD]
    if not head.isascii() and sum(map(head.count, range(0xF0, 0xFA))) > _DIGITS * len(head):
        raise DataError(f"{name} seems to be in EBCDIC, the character set of mainframes; convert it to UTF-8.")
    for charset in _candidates(data):
        try:
            text = data.decode(charset)
        except UnicodeError:
            continue
        if "\x00" not in text:
            if "\r" in text:
                text = text.replace("\r\n", "\n").replace("\r", "\n")
            return text, charset
    raise DataError(
        Message(
            "not-text",
            "{name} is neither text nor a Parquet or Feather file; save the candles as CSV in UTF-8.",
            name=name,
        )
    )


def _candidates(data: bytes) -> list[str]:
    """Character sets to try, best first."""
    for mark, charset in _MARKS:
        if data.startswith(mark):
            return [charset]
    head = data[:_HEAD]
    if head.isascii() and (escaped := [charset for mark, charset in _ESCAPES if mark in head]):
        return [*escaped, "utf-8"]
    if b"\x00" in head and len(head) >= 8:
        for start, charset in ((0, "utf-32-le"), (3, "utf-32-be")):
            others = [head[(start + i) % 4 :: 4] for i in (1, 2, 3)]
            if (
                all(part.count(0) > 0.9 * len(part) for part in others[1:])
                and others[0].count(0) > _ZEROS * len(head) / 4
            ):
                return [charset]
    if b"\x00" in head:
        even, odd = (head[i::2].count(0) / max(1, len(head[i::2])) for i in (0, 1))
        if odd > _ZEROS and even < odd / 8:
            return ["utf-16-le"]
        return ["utf-16-be"] if even > _ZEROS and odd < even / 8 else []
    scores = {}
    if not head.isascii():
        scores = {charset: _known_labels(head.decode(charset, "replace")) for charset in (*_LEGACY, *_RARE)}
    usual = sorted(_LEGACY, key=lambda charset: -scores.get(charset, 0))
    best = max(_RARE, key=lambda charset: scores.get(charset, 0))
    rare = [best] if scores.get(best, 0) > scores.get(usual[0], 0) else []
    return ["utf-8", *rare, *usual]


def _known_labels(text: str) -> int:
    cells = re.split(r"[,;\t|\n\r]| {2,}", text)
    return sum(normalize_label(cell.strip(" \"'")) in LABELS for cell in cells[:500])
