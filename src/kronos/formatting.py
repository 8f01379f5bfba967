"""Text for people, values for JSON and names of files, shared by messages, tables, reports and documents."""

from __future__ import annotations

import ast
import inspect
import json
import math
import os
import re
import textwrap
import unicodedata
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

MISSING = "–"
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
# Not printable in Python's sense, but common in texts: spaces, and the joiners of emoji and Persian.
_HARMLESS = frozenset("\n\t\u00a0\u2007\u202f\u3000\u200c\u200d")


class Message(str):
    """A sentence that keeps its kind and its values, so that a page can say it in another language.

    Attributes:
        kind: Short stable name of the sentence, such as ``missing-columns``; empty if it has none.
        template: The sentence with placeholders, such as ``{name}``; other braces stay as they are.
        values: What the placeholders stand for.
    """

    __slots__ = ("kind", "template", "values")
    kind: str
    template: str
    values: dict[str, str | int]

    def __new__(cls, kind: str, template: str, /, **values: str | int) -> Message:
        """Fill in a sentence.

        Args:
            kind: Name of the sentence.
            template: The sentence; a placeholder without a value stays, for `fill`.
            values: Values of the placeholders.
        """
        # Not str.format: sentences quote mappings, and a quoted cell or a file name may contain braces.
        text = _PLACEHOLDER.sub(lambda found: str(values.get(found[1], found[0])), template)
        return cls.restore(text, kind, values, template)

    @classmethod
    def restore(
        cls, text: str, kind: str = "", values: Mapping[str, str | int] | None = None, template: str = ""
    ) -> Message:
        """Create a sentence whose text is known already."""
        message = super().__new__(cls, text)
        message.kind, message.template, message.values = kind, template or text, dict(values or {})
        return message

    def fill(self, **values: str | int) -> Message:
        """The sentence with further values."""
        return Message(self.kind, self.template, **{**self.values, **values})

    def __reduce__(self) -> tuple[Any, ...]:
        return Message.restore, (str(self), self.kind, self.values, self.template)

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> Any:
        """In documents a sentence is its text."""
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(cls.restore, core_schema.str_schema())


def truncate(value: object, width: int = 30) -> str:
    """Shorten a value to one printable line of at most ``width`` characters, for quoting in a message."""
    text = "".join(c if c.isprintable() else " " for c in str(value)[: 4 * width])
    return " ".join(text.split())[:width]


def printable(text: str) -> str:
    """The text with � for characters that could control a terminal or cannot be encoded; line breaks and tabs stay."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in _HARMLESS else "\ufffd" for c in text)


def docstring(documented: Callable[..., Any]) -> str:
    """The docstring of a function or class, from its source if Python dropped docstrings (``-OO``), cleaned.

    Help texts are docstrings, and must not depend on how Python was started. Empty if there is no source either.
    """
    if documented.__doc__ is not None:
        return inspect.cleandoc(documented.__doc__)
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(documented)))
    except (OSError, TypeError, SyntaxError):
        return ""
    definition = tree.body[0]
    if not isinstance(definition, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return ""
    return ast.get_docstring(definition) or ""


def truncate_middle(text: str, width: int) -> str:
    """Shorten a name to ``width`` printable characters by cutting its middle, where names differ least."""
    text = "".join(c if c.isprintable() else " " for c in text)
    if len(text) <= width:
        return text
    head = (width - 1) // 2
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"


# Text that begins with one of these is run as a formula by spreadsheets, the full-width ones in East Asian versions.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def escape_formulas(table: pd.DataFrame) -> pd.DataFrame:
    """A table for a CSV file: texts that a spreadsheet would run as formulas begin with an apostrophe.

    Names of series and columns can come from strangers. Numbers and times are unchanged.
    """

    def escape(value: object) -> object:
        return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA_STARTS) else value

    safe = table.rename(columns=escape, index=escape if table.index.dtype.kind == "O" else None)
    for position, kind in enumerate(safe.dtypes):
        if kind.kind == "O":  # text, also in extension types and categories
            safe.isetitem(position, [escape(value) for value in safe.iloc[:, position]])
    return safe


def join_names(names: Sequence[str], limit: int | None = 4, conjunction: str = "and") -> str:
    """Join names for a sentence: ``a``, ``a and b``, ``a, b and c``, ``a, b, c, d and 3 more``.

    Args:
        names: The names.
        limit: Names written out before the rest is only counted; None for all.
        conjunction: Word before the last name.
    """
    if limit is not None and len(names) > limit:
        return f"{', '.join(names[:limit])} and {len(names) - limit:,} more"
    return f" {conjunction} ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def unique_name(name: str, taken: Container[str]) -> str:
    """The name, with ``-2``, ``-3`` … appended if it is taken."""
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        candidate = f"{name}-{number}"
    return candidate


def unique_names(names: Iterable[str]) -> list[str]:
    """The names in order, repeated ones numbered: ``btc, btc-2``."""
    result: dict[str, None] = {}
    for name in names:
        result[unique_name(name, result)] = None
    return list(result)


def file_stem(name: str | PurePath, suffixes: Collection[str]) -> str:
    """A file's name without its folder and without any of these suffixes: ``btc_1h`` for ``btc_1h.csv.gz``.

    The name is valid Unicode in its composed form, whatever the file system stores, so that results that depend on it
    are the same everywhere.
    """
    stem = unicode_name(PurePath(name).name)
    while (suffix := PurePath(stem).suffix) and suffix.lower() in suffixes:
        stem = stem.removesuffix(suffix)
    return stem


def unicode_name(name: str) -> str:
    """The name of a file as valid Unicode in composed form (NFC), with � for bytes that are not UTF-8."""
    try:
        name = os.fsencode(name).decode("utf-8", "replace")
    except UnicodeEncodeError:  # not a name of this file system
        name = name.encode("utf-8", "replace").decode("utf-8")
    return unicodedata.normalize("NFC", name)


def expand_user(path: str | Path) -> Path:
    """A path with ``~`` replaced by the home folder; ``~`` of an unknown user stays, as in shells."""
    return Path(os.path.expanduser(path))  # noqa: PTH111  (Path.expanduser raises if there is no such user)


def relative_path(path: str | os.PathLike[str]) -> str:
    """A path relative to the current folder if it lies inside it, else unchanged."""
    text = os.fspath(path)
    relative = os.path.relpath(text)
    return text if relative.startswith("..") else relative


def os_error_reason(error: OSError) -> str:
    """The system's description of an error in lower case, without a path: ``permission denied``."""
    return (error.strerror or type(error).__name__).lower()


def plural(count: int, noun: str) -> str:
    """A count with its noun: ``1 gap``, ``2,000 gaps``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def format_number(value: float, decimals: int = 3) -> str:
    """A number with thousands grouped and a typographic minus; never ``−0``; a dash if it is not finite."""
    if not math.isfinite(value):
        return MISSING
    text = f"{value:,.{decimals}f}"
    return text.replace("-", "−") if float(text.replace(",", "")) else text.lstrip("-")


def format_signed(value: float, decimals: int = 3) -> str:
    """A change with its sign and a typographic minus: ``+0.120``, ``−0.031``; no sign before zero."""
    text = f"{value:+.{decimals}f}"
    return text.replace("-", "−") if float(text) else text[1:]


def percent(share: float, decimals: int = 1) -> str:
    """A share in percent: ``12.5 %``, with a typographic minus; a dash if it is not finite."""
    return f"{format_number(100 * share, decimals)} %" if math.isfinite(share) else MISSING


def format_price(price: float, decimals: int) -> str:
    """A price with thousands grouped: ``67,200`` or ``1.08345``."""
    return f"{price:,.{decimals}f}"


def short_count(number: int) -> str:
    """A count of parameters in three digits: ``24.7 M``, ``317 K``."""
    return f"{number / 1e6:.3g} M" if number >= 1_000_000 else f"{number / 1e3:.3g} K"


def megabytes(size: int) -> str:
    """A size in bytes as ``9.1 MB``, ``412 MB`` or ``2.4 GB`` (powers of ten)."""
    if size >= 1e9:
        return f"{size / 1e9:,.1f} GB"
    return f"{size / 1e6:,.0f} MB" if size >= 1e7 else f"{size / 1e6:.1f} MB"


def duration(seconds: float) -> str:
    """A time span to the second, or to the minute from one hour on: ``42 s``, ``3 min 5 s``, ``2 h 10 min``."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def json_safe(value: Any, *, convert: bool = False) -> Any:
    """The value with null for numbers that are not finite, which JSON does not have, and lists for tuples.

    Args:
        value: Any nesting of mappings, lists, tuples and scalars.
        convert: Also convert objects that JSON does not know: to a float if they are numbers (scalars of NumPy and
            PyTorch), otherwise to text.
    """
    if isinstance(value, Mapping):
        return {str(key): json_safe(item, convert=convert) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_safe(item, convert=convert) for item in value]
    if convert and not (value is None or isinstance(value, str | bool | int | float)):
        try:
            value = float(value)
        except (TypeError, ValueError):
            return str(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value


def to_json(document: Mapping[str, Any] | list[Any], *, ascii_only: bool = False) -> str:
    """Render a document as indented JSON; numbers that are not finite become null.

    Lone surrogates, which names of files outside UTF-8 contain, are escaped: the text can be encoded as UTF-8.
    """
    text = json.dumps(json_safe(document), indent=2, ensure_ascii=ascii_only, allow_nan=False)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
