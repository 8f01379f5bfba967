"""Notation of numbers in text: the decimal sign and the thousands sign, decided once per column from all its cells.

Each cell is evidence. ``1.234,5`` and ``0,25`` show their decimal sign, ``1.234.567`` its thousands sign; ``5.916``
shows neither. The four prices are judged as one column, since a table writes them alike. A column whose cells are all
open is decided by the others of the file: by their decimal sign, by amount ≈ volume × price, or by whole numbers beside
it. If nothing decides it, the file is refused with the options that do.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from kronos.candles.findings import Note, Severity
from kronos.errors import DataError, ParameterError
from kronos.formatting import Message, truncate
from kronos.typing import FloatArray

MISSING = ("", "-", "--", "nan", "na", "n/a", "#n/a", "null", "none", "nat", "<na>", ".")
_INEXACT_PARSER = int(pd.__version__.split(".", 1)[0]) < 3  # pandas 2 may miss the last of 16 or more digits
_CONFLICT = 0.05  # share of cells that may contradict the others, and become unreadable
_MIN_CELLS = 20  # from which on whole numbers below 1000 beside 5.916 are no coincidence
_MIN_WHOLE = 3  # of those whole numbers
_LARGER, _MIXED = 0.9, 0.8  # share of whole numbers above 5.916 that shows thousands; below which both are of one size
_MULTIPLES = {
    "万亿": "e12", "百万": "e6", "千": "e3", "万": "e4", "萬": "e4", "만": "e4", "亿": "e8", "億": "e8", "억": "e8",
    "兆": "e12", "조": "e12", "thousand": "e3", "million": "e6", "billion": "e9", "trillion": "e12", "lakh": "e5",
    "lac": "e5", "crore": "e7", "cr": "e7", "mio": "e6", "mln": "e6", "mn": "e6", "mrd": "e9", "mld": "e9", "bn": "e9",
    "tn": "e12", "k": "e3", "m": "e6", "b": "e9", "t": "e12",
}  # fmt: skip
_UNITS = r"手|股|张|張|株|주|元|円|원|usdt|usdc|usd|eur|gbp|cny|jpy|krw|btc|eth|lots?|shares?"
_SUFFIX = re.compile(
    rf"(?<=[\d.,])\s*({'|'.join(sorted(_MULTIPLES, key=len, reverse=True))})?\.?\s*({_UNITS})?$", re.IGNORECASE
)
_CURRENCY = r"[$€£¥₩₹₽﹩]|^(?:usd|eur|gbp|rs\.?|hk|us)(?=[\s\d])"
_SIMPLE = re.compile(r"([^0-9]*)([0-9][0-9.,]*)([^0-9]*)")  # one group of digits, with what is around it
_SHAPE = str.maketrans("0123456789", "1111111111")
_GROUPED = r"\d{1,3}(?:S\d{3})+|\d{1,2}(?:S\d{2})*S\d{3}"  # thousands, or lakh and crore


@dataclass(frozen=True, slots=True)
class NumberFormat:
    """Signs of numbers in text.

    Attributes:
        decimal: ``.`` or ``,``.
        thousands: Sign between groups of digits, empty if there is none. Spaces and apostrophes always are.
    """

    decimal: str = "."
    thousands: str = ","


@dataclass(slots=True)
class Evidence:
    """What the cells of a column show about ``.`` and ``,``.

    Attributes:
        decimal: Number of cells in which a sign must be the decimal sign.
        thousands: Number of cells in which it must be the thousands sign.
        open: Number of cells in which it may be either: ``5.916``.
        small: Number of whole numbers below 1000.
        large: Number of cells with a group of four or more digits, which a thousands sign would divide.
        example: A cell with an open sign.
    """

    decimal: dict[str, int] = field(default_factory=lambda: {".": 0, ",": 0})
    thousands: dict[str, int] = field(default_factory=lambda: {".": 0, ",": 0})
    open: dict[str, int] = field(default_factory=lambda: {".": 0, ",": 0})
    small: int = 0
    large: int = 0
    example: str = ""

    def add(self, shape: str, count: int = 1) -> None:
        """Add bare numbers of one shape: digits, ``.`` and ``,``."""
        signs = [c for c in shape if c in ".,"]
        whole = re.split(r"[.,]", shape, maxsplit=1)[0]
        if not signs:
            self.small += count * (len(whole) <= 3)
            self.large += count * (len(whole) > 3)
        elif len(set(signs)) == 2:
            last = signs[-1]
            if signs.count(last) == 1 and _is_grouped(shape.partition(last)[0], signs[0]):
                self.decimal[last] += count
                self.thousands[signs[0]] += count
        elif len(signs) > 1:
            self.thousands[signs[0]] += count * _is_grouped(shape, signs[0])
        elif len(shape) - len(whole) - 1 != 3 or len(whole) > 3 or not whole or whole.startswith("0"):
            self.decimal[signs[0]] += count
            self.large += count * (len(whole) > 3)
        else:
            self.open[signs[0]] += count

    def add_all(self, cells: pd.Series) -> None:
        """Add the bare numbers of a column; those of one shape, as ``1.111`` and ``0,11``, show the same."""
        texts = cells.dropna().to_numpy(dtype=object).tolist()
        shapes = Counter(map(_shape, texts))
        for shape, count in shapes.items():
            if match := re.match(r"[+-]?([\d.,]+)(?:e[+-]?\d+)?$", shape, re.IGNORECASE):
                before = sum(self.open.values())
                self.add(match[1], count)
                if sum(self.open.values()) > before and not self.example:
                    self.example = next(text for text in texts if _shape(text) == shape).lstrip("+-")

    @property
    def open_sign(self) -> str | None:
        """The sign that the cells leave open, None if there is none or the cells decide it."""
        if any(self.decimal.values()) or any(self.thousands.values()):
            return None
        return next((sign for sign, count in self.open.items() if count), None)

    def format(self, column: str, name: str) -> NumberFormat | None:
        """The notation that the cells show, None if they show none.

        Raises:
            DataError: If the cells contradict each other.
        """
        dot = self.decimal["."] + self.thousands[","]  # cells that show 1,234.5
        comma = self.decimal[","] + self.thousands["."]  # cells that show 1.234,5
        if not dot and not comma:
            sign = self.open_sign
            if sign is not None and self.large:
                return NumberFormat(sign, "")
            return None
        if min(dot, comma) > _CONFLICT * (dot + comma):
            raise DataError(
                Message(
                    "mixed-signs",
                    "The {column} of {name} mixes decimal points and decimal commas; write it in one "
                    "notation, or give decimal='.' or decimal=','.",
                    column=column,
                    name=name,
                )
            )
        return NumberFormat(".", ",") if dot > comma else NumberFormat(",", ".")


def _shape(text: str) -> str:
    """A number with 1 for its digits, but for a leading 0."""
    return "0" + text[1:].translate(_SHAPE) if text.startswith("0") else text.translate(_SHAPE)


def _share_of_larger(columns: Sequence[pd.Series], sign: str) -> float | None:
    """How often whole numbers below 1000 exceed those such as ``5.916`` read with decimals; None if they are few.

    If the sign separates thousands, 442 stands beside 5916, and nearly every whole number is the larger one here. If it
    precedes decimals, 4 stands beside 5.916, and both are of one size.
    """
    text = pd.concat(columns, ignore_index=True).str.lstrip("+-")
    whole = text[text.str.fullmatch(r"[1-9]\d{0,2}")].astype(np.float64).to_numpy()
    other = text[text.str.fullmatch(rf"[1-9]\d{{0,2}}{re.escape(sign)}\d{{3}}")]
    if len(whole) < _MIN_WHOLE or len(other) < _MIN_CELLS:
        return None
    values = np.sort(other.str.replace(sign, ".", regex=False).astype(np.float64).to_numpy())
    return float(np.mean(np.searchsorted(values, whole) / len(values)))


def likely_format(bare: pd.Series) -> NumberFormat:
    """The notation of a single column; an open sign counts as the decimal sign unless sizes show thousands."""
    evidence = Evidence()
    evidence.add_all(bare)
    with suppress(DataError):
        found = evidence.format("", "")
        if found is not None:
            return found
    sign = evidence.open_sign or "."
    thousands = evidence.open_sign is not None and (_share_of_larger([bare.dropna()], sign) or 0.0) > _LARGER
    return NumberFormat(_other(sign), sign) if thousands else NumberFormat(sign, _other(sign))


def _is_grouped(digits: str, sign: str) -> bool:
    return bool(re.fullmatch(_GROUPED.replace("S", re.escape(sign)), digits))


def _other(sign: str) -> str:
    return "," if sign == "." else "."


def parse_floats(text: pd.Series) -> FloatArray:
    """Numbers in Python's notation as floats, NaN for other text."""
    floats = to_float_array(pd.to_numeric(text, errors="coerce").astype("Float64")).copy()
    if _INEXACT_PARSER and (known := np.isfinite(floats)).any():
        with suppress(ValueError):  # numbers that pandas accepts and Python does not stay as pandas parsed them
            floats[known] = np.array(text[known].to_list(), dtype=object).astype(np.float64)
    return floats


def to_float_array(values: pd.Series) -> FloatArray:
    """Values of a nullable column as floats, NaN if missing."""
    return np.asarray(values.to_numpy(dtype=np.float64, na_value=np.nan), dtype=np.float64)


def is_missing(text: pd.Series) -> pd.Series:
    """Whether each cell is empty or a sign for a missing value."""
    return text.fillna("").str.lower().isin(MISSING)


def may_be_grouped(text: pd.Series, floats: FloatArray) -> bool:
    """Whether a column that reads as plain numbers may have thousands points: no cell rules it out."""
    known = floats[np.isfinite(floats)]
    if not len(known) or np.abs(known).max() >= 1000 or (known == np.floor(known)).all():
        return False
    step = max(1, len(text) // 16)
    sample = [str(cell) for cell in text.iloc[::step].tolist() if isinstance(cell, str)]
    if any(not re.fullmatch(r"\d{1,3}(\.\d{3})?|\s*", cell) for cell in sample):
        return False
    return bool(text.fillna("").str.fullmatch(r"(?:[1-9]\d{0,2}|0)(?:\.\d{3})?|").all())


def bare_numbers(text: pd.Series) -> pd.Series:
    """Cells without currency, units, spaces and apostrophes; 1.2M becomes 1.2e6, and (5) becomes -5."""
    if bool(text.str.fullmatch(r"[\d.,]*").fillna(True).all()):
        return text.astype("string")  # nothing to take away
    cells = text.to_numpy(dtype=object, na_value="").tolist()
    frames: dict[tuple[str, str], tuple[str, str]] = {}
    plain = [_bare_simple(str(cell), frames) for cell in cells]
    return pd.Series(plain, index=text.index, dtype="string").mask(text.isna())


def _bare_simple(cell: str, frames: dict[tuple[str, str], tuple[str, str]]) -> str:
    """A bare number; what stands before and after one group of digits is only looked at once."""
    match = _SIMPLE.fullmatch(cell)
    if match is None:
        return _bare(cell)
    around = match[1], match[3]
    if around not in frames:
        before, _, after = _bare(f"{around[0]}1{around[1]}").partition("1")
        frames[around] = before, after
    before, after = frames[around]
    return f"{before}{match[2]}{after}"


def _bare(cell: str) -> str:
    text = unicodedata.normalize("NFKC", cell).replace("−", "-").replace("’", "'").strip()
    text = re.sub(_CURRENCY, "", text, flags=re.IGNORECASE).strip()
    if text.startswith("(") and text.endswith(")"):
        text = f"-{text[1:-1]}"
    power = ""
    match = _SUFFIX.search(text)
    if match is not None and match.group():
        power = _MULTIPLES.get((match[1] or "").lower(), "")
        text = text[: match.start()]
    if re.fullmatch(r"[+-]?\d{1,3}(?:[\s']\d{3})+(?:[.,]\d*)?", text) or "_" in text:
        text = re.sub(r"[\s'_]", "", text)
    return text + power


def parse_numbers(bare: pd.Series, notation: NumberFormat) -> FloatArray:
    """Parse bare numbers in a notation, NaN where they are in another."""
    thousands, decimal = re.escape(notation.thousands), re.escape(notation.decimal)
    grouped = rf"|{_GROUPED.replace('S', thousands)}" if notation.thousands in (".", ",") else ""
    pattern = rf"[+-]?(?:\d+{grouped})?(?:{decimal}\d*)?(?:[eE][+-]?\d+)?"
    fits = bare.str.fullmatch(pattern).fillna(False)
    plain = bare.where(fits)
    if grouped:
        plain = plain.str.replace(notation.thousands, "", regex=False)
    if notation.decimal == ",":
        plain = plain.str.replace(",", ".", regex=False)
    return parse_floats(plain)


def infer_formats(
    columns: Mapping[str, pd.Series],
    given: NumberFormat | None,
    name: str,
    *,
    comma_locale: bool = False,
    dates_only: bool = False,
    points_usual: bool = True,
) -> tuple[dict[str, NumberFormat], list[Note]]:
    """Infer the notation of each column.

    Args:
        columns: Bare cells by canonical name.
        given: The caller's notation, for all columns whose cells do not rule it out.
        name: Name of the source in messages.
        comma_locale: Whether the names of the columns are in a language with decimal commas.
        dates_only: Whether times are dates, so that candles are daily or longer.
        points_usual: Whether decimal points are usual in such a file: its cells are separated by commas.

    Returns:
        The notation by column, and notes about what the cells alone did not decide.

    Raises:
        DataError: If a notation is open, or cells contradict each other.
        ParameterError: If the cells of every column rule out the caller's notation.
    """
    return _Inference(columns, name, comma_locale, dates_only, points_usual).result(given)


class _Inference:
    """Inference of the notations of one table."""

    def __init__(
        self, columns: Mapping[str, pd.Series], name: str, comma_locale: bool, dates_only: bool, points_usual: bool
    ) -> None:
        self._columns, self._name = columns, name
        self._comma_locale, self._dates_only, self._points_usual = comma_locale, dates_only, points_usual
        self._group = {c: c if c in ("volume", "amount", "ticks") else "prices" for c in columns}
        self._evidence = {group: Evidence() for group in ("prices", "volume", "amount", "ticks")}
        for column, cells in columns.items():
            evidence = self._evidence[self._group[column]]
            evidence.add_all(cells)
        self._notes: list[Note] = []

    def result(self, given: NumberFormat | None) -> tuple[dict[str, NumberFormat], list[Note]]:
        """The notation by column, and the notes."""
        formats: dict[str, NumberFormat | None] = {
            group: evidence.format("prices" if group == "prices" else group, self._name)
            for group, evidence in self._evidence.items()
        }
        if given is not None:
            self._check_given(given, formats)
            formats = {group: found or given for group, found in formats.items()}
        undecided = [(g, sign) for g, e in self._evidence.items() if formats[g] is None and (sign := e.open_sign)]
        larger = {group: _share_of_larger(self._cells(group), sign) for group, sign in undecided}
        for group, sign in undecided:
            if (larger[group] or 0.0) > _LARGER:
                formats[group] = NumberFormat(_other(sign), sign)
        for group, sign in undecided:
            formats[group] = formats[group] or self._decide(group, sign, formats, larger[group])
        used = {column: formats[self._group[column]] or NumberFormat() for column in self._columns}
        self._note_signs(used)
        return used, self._notes

    def _check_given(self, given: NumberFormat, formats: Mapping[str, NumberFormat | None]) -> None:
        """Check that a column can have the caller's notation."""
        shown = [found for found in formats.values() if found is not None]
        if (
            shown
            and all(found.decimal != given.decimal for found in shown)
            and None not in {formats[self._group[column]] for column in self._columns}
        ):
            raise ParameterError(
                Message(
                    "wrong-decimal",
                    "decimal='{given}' contradicts {name}, whose numbers are written with decimal='{shown}'; "
                    "correct or omit it.",
                    given=given.decimal,
                    name=self._name,
                    shown=shown[0].decimal,
                )
            )

    def _note_signs(self, used: Mapping[str, NumberFormat]) -> None:
        """Note the signs that were taken for decimal commas and for thousands signs."""
        evidence = {column: self._evidence[self._group[column]] for column in used}
        signs = []
        for sign, word in ((",", "comma"), (".", "point")):
            decimal = [c for c, notation in used.items() if notation.decimal == sign]
            if sign == "," and any(evidence[c].decimal[sign] or evidence[c].open[sign] for c in decimal):
                signs.append("a decimal comma")
            thousands = [c for c, notation in used.items() if notation.thousands == sign]
            if any(evidence[c].thousands[sign] or evidence[c].open[sign] for c in thousands):
                signs.append(f"a thousands {word}")
        if signs and not self._notes:
            message = Message(
                "number-signs",
                "The numbers of {name} were read with {signs}.",
                name=self._name,
                signs=" and ".join(signs),
            )
            self._notes.append(Note("number-notation", "info", message))

    def _cells(self, group: str) -> list[pd.Series]:
        return [cells.dropna() for column, cells in self._columns.items() if self._group[column] == group]

    def _decide(
        self, group: str, sign: str, formats: Mapping[str, NumberFormat | None], larger: float | None
    ) -> NumberFormat:
        """Decide an open sign by the other columns, and by the sizes of its whole numbers."""
        decimal, thousands = NumberFormat(sign, _other(sign)), NumberFormat(_other(sign), sign)
        by_amount = self._decide_by_amount(group, decimal, thousands, formats)
        if by_amount is not None:
            return by_amount
        others = [formats[g] for g in self._evidence if g != group and formats[g] is not None]
        shown = [g for g, e in self._evidence.items() if g != group and e.decimal[sign]]
        opposite = [g for g, e in self._evidence.items() if g != group and e.decimal[_other(sign)]]
        one_size = larger is not None and larger < _MIXED  # 4 beside 5.916
        ungrouped = any(evidence.large for evidence in self._evidence.values())
        if opposite:
            return thousands if not shown and not one_size else self._refuse(group, sign)
        if shown:
            if one_size or ungrouped or group == "prices":
                return decimal
            return thousands if self._is_dotted_volume(group, sign) else self._assume(group, decimal, "warning")
        if others:  # only thousands signs
            grouped = any(e.thousands[sign] for g, e in self._evidence.items() if g != group)
            if grouped and not one_size and (sign == "," or group != "prices" or self._comma_locale):
                return thousands
            return self._refuse(group, sign)
        if sign == "." and self._points_usual and (ungrouped or not self._comma_locale):
            # Three decimals would hardly be written for numbers that all end in 0, as 25.300.
            round_ = all(bool(cells.str.endswith("0").all()) for cells in self._cells(group))
            certain = one_size or (group == "prices" and not round_)
            return self._assume(group, decimal, "info" if certain else "warning")
        if sign == "." and ungrouped and not self._comma_locale:
            return self._assume(group, decimal, "warning")
        return self._refuse(group, sign)

    def _assume(self, group: str, notation: NumberFormat, severity: Severity) -> NumberFormat:
        """The notation with decimals, and a note with the option of the other one."""
        sign, word = notation.decimal, "point" if notation.decimal == "." else "comma"
        message = Message(
            "assumed-decimals",
            "Numbers such as {example} ({column}) of {name} were read with a decimal {kind_of_sign}; "
            "give thousands='{sign}' if they are whole numbers.",
            example=self._evidence[group].example,
            column=group,
            name=self._name,
            kind_of_sign=word,
            sign=sign,
        )
        self._notes.append(Note("number-notation", severity, message))
        return notation

    def _decide_by_amount(
        self,
        group: str,
        decimal: NumberFormat,
        thousands: NumberFormat,
        formats: Mapping[str, NumberFormat | None],
    ) -> NumberFormat | None:
        """The notation under which amount ≈ volume × price, in shares or lots of 100; None if not exactly one is."""
        needed = ("close", "volume", "amount")
        if any(column not in self._columns for column in needed):
            return None
        others = {self._group[column] for column in needed} - {group}
        if any(formats[other] is None and self._evidence[other].open_sign for other in others):
            return None  # two open notations fit together in several ways
        ratios = []
        for notation in (decimal, thousands):
            values = {
                column: parse_numbers(
                    self._columns[column],
                    notation if self._group[column] == group else formats[self._group[column]] or NumberFormat(),
                )
                for column in needed
            }
            with np.errstate(all="ignore"):
                ratio = values["amount"] / (values["volume"] * values["close"])
            ratios.append(float(np.median(ratio[np.isfinite(ratio)])) if np.isfinite(ratio).any() else np.nan)
        fits = [any(0.8 < ratio / lot < 1.25 for lot in (1, 100)) for ratio in ratios]
        return None if fits[0] == fits[1] else decimal if fits[0] else thousands

    def _is_dotted_volume(self, group: str, sign: str) -> bool:
        """Whether daily volumes such as ``73.317`` beside prices in cents are whole numbers with thousands points.

        All of at least twenty cells have three digits after the point, no number of the file has four digits in a row,
        and the value traded in a day would be below 100,000 otherwise.
        """
        volume = self._evidence[group]
        cells = sum(volume.open.values())
        if group != "volume" or sign != "." or not self._dates_only or cells < _MIN_CELLS:
            return False
        if volume.small or any(evidence.large for evidence in self._evidence.values()) or "close" not in self._columns:
            return False
        close = parse_numbers(self._columns["close"], NumberFormat())
        traded = parse_numbers(self._columns["volume"], NumberFormat()) * close
        in_cents = bool(self._columns["close"].dropna().str.fullmatch(r"\d+\.\d{2}").all())
        if not in_cents or not np.nanmedian(close) > 1 or not np.nanmedian(traded) < 1e5:
            return False
        message = Message(
            "dotted-volume",
            "The volume of {name} is written like {example} throughout and was read with thousands "
            "points, as {value}; give decimal='.' if it has decimals.",
            name=self._name,
            example=volume.example,
            value=volume.example.replace(".", ""),
        )
        self._notes.append(Note("number-notation", "warning", message))
        return True

    def _refuse(self, group: str, sign: str) -> NumberFormat:
        example = truncate(self._evidence[group].example)
        raise DataError(
            Message(
                "ambiguous-sign",
                "The {column} of {name} such as {example} may be {whole} or {fraction}, and the other "
                "columns do not decide it: give thousands='{sign}' or decimal='{sign}'.",
                column=group,
                name=self._name,
                example=example,
                whole=example.replace(sign, ""),
                fraction=example.replace(sign, "."),
                sign=sign,
            )
        )
