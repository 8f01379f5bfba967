"""What ``kronos data check`` found, as a document: JSON for machines, Markdown for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kronos.atomic import write_text
from kronos.cli.console import dump_json

if TYPE_CHECKING:
    from kronos.candles.quality import Reason
    from kronos.datasets.inspection import Checked, InspectionReport

REASONS = 100  # of one series, in documents; their number is always told
MEANING = (
    "Kept is what passes the filters of the Kronos paper (arXiv 2508.02739, Table 4): no missing prices, jumps, runs "
    "without volume or movement, or pieces too short. good: no warning and 95 % kept; fair: half kept; poor: less; "
    "unfit: nothing; too short: fewer candles than a segment needs."
)


def write(checkup: InspectionReport, path: Path) -> None:
    """Write a report; its ending says which.

    Raises:
        StorageError: If the file system refuses.
    """
    write_text(path, dump_json(document(checkup)) + "\n" if path.suffix.lower() == ".json" else markdown(checkup))


def document(checkup: InspectionReport) -> dict[str, Any]:
    """Everything, ready for JSON."""
    from kronos import __version__

    return {
        "kronos": __version__,
        "totals": {
            "series": len(checkup.series),
            "candles": checkup.candles,
            "kept": checkup.kept,
            "segments": checkup.segments,
            "warnings": checkup.warnings,
            "verdicts": checkup.verdicts,
            "unreadable": len(checkup.unreadable),
        },
        "series": [_entry(one) for one in checkup.series],
        "unreadable": [{"path": str(one.path), "problem": one.problem} for one in checkup.unreadable],
        "passed_over": [str(path) for path in checkup.passed_over],
    }


def _entry(one: Checked) -> dict[str, Any]:
    return {
        "path": str(one.path),
        "name": one.name,
        "interval": str(one.interval),
        "candles": one.candles,
        "start": one.start.isoformat(),
        "end": one.end.isoformat(),
        "timezone": one.timezone,
        "simulated": one.simulated,
        "has_volume": one.has_volume,
        "has_amount": one.has_amount,
        "verdict": one.verdict,
        "findings": [
            {"severity": f.severity, "code": f.code, "count": f.count, "rows": list(f.rows), "message": f.message}
            for f in one.findings
        ],
        "quality": _quality(one),
    }


def _quality(one: Checked) -> dict[str, Any]:
    from kronos.datasets.summary import quality_counts

    quality = one.quality
    return {
        **quality_counts(quality),
        "kept": quality.kept,
        "kept_share": round(quality.kept_share, 6),
        "segments": [
            {"rows": [segment.start, segment.stop], "start": start.isoformat(), "end": end.isoformat()}
            for segment, (start, end) in zip(quality.segments, one.spans, strict=True)
        ],
        "reasons": [_reason(reason) for reason in quality.reasons[:REASONS]],
        "reasons_in_all": len(quality.reasons),
        "notes": list(quality.notes),
    }


def _reason(reason: Reason) -> dict[str, Any]:
    return {
        "why": reason.why,
        "start": reason.start.isoformat(),
        "end": reason.end.isoformat(),
        "candles": reason.candles,
        "change": reason.change,
        "message": str(reason),
    }


def markdown(checkup: InspectionReport) -> str:
    """The whole report as Markdown."""
    from kronos import __version__
    from kronos.provenance import now_utc

    lines = ["# Candles checked", "", f"By kronos {__version__} on {now_utc()}.", "", *told(checkup), ""]
    if checkup.series:
        lines += [*_overview(checkup.series), "", MEANING, ""]
    for one in checkup.series:
        lines += [*_section(one), ""]
    for title, rows in (
        ("Not readable", [f"- {_code(one.path)}: {_plain(one.problem)}" for one in checkup.unreadable]),
        ("Passed over: no candles", [f"- {_code(path)}" for path in checkup.passed_over]),
    ):
        lines += [f"## {title}", "", *rows, ""] if rows else []
    return "\n".join(lines).rstrip() + "\n"


def told(checkup: InspectionReport) -> list[str]:
    """The totals, in sentences."""
    count = len(checkup.series)
    lines = []
    if count:
        verdicts = ", ".join(f"{number:,} {verdict}" for verdict, number in checkup.verdicts.items())
        share = checkup.kept / checkup.candles
        lines.append(
            f"{count:,} series with {checkup.candles:,} candles: {percent(share)} kept in {checkup.segments:,} "
            f"{plural(checkup.segments, 'segment')}; {verdicts}."
        )
    if checkup.unreadable:
        lines.append(f"{len(checkup.unreadable):,} could not be read.")
    if checkup.passed_over:
        names = ", ".join(path.name for path in checkup.passed_over[:4])
        more = f" and {len(checkup.passed_over) - 4:,} more" if len(checkup.passed_over) > 4 else ""
        lines.append(f"Passed over, as they hold no candles: {names}{more}.")
    return lines


def percent(share: float) -> str:
    """``97.3 %``; only a whole is 100 %, only nothing is 0 %."""
    if share in (0.0, 1.0):
        return f"{share:.0%}".replace("%", " %")
    return f"{min(max(100 * share, 0.1), 99.9):.1f} %"


def plural(number: int, word: str) -> str:
    """The word for one of them, or with an s for another number."""
    return word if number == 1 else f"{word}s"


def why(one: Checked) -> str:
    """What split a series and what was left out of it, in short; empty if nothing."""
    quality = one.quality
    splits = [f"{n:,} {plural(n, word)}" for n, word in ((quality.gaps, "gap"), (quality.jumps, "jump")) if n]
    out = [
        f"{n:,} {words}"
        for n, words in (
            (quality.illiquid, "without trading"),
            (quality.stagnant, "without movement"),
            (quality.short, f"in pieces under {quality.rules.min_length:,}"),
        )
        if n
    ]
    parts = ([" and ".join(splits)] if splits else []) + ([f"left out: {', '.join(out)}"] if out else [])
    return "; ".join(parts)


def _overview(series: Sequence[Checked]) -> Iterator[str]:
    yield "| series | interval | candles | from | to | warnings | notes | segments | kept | verdict |"
    yield "|---|---|--:|---|---|--:|--:|--:|--:|---|"
    for one in series:
        cells = (
            _plain(one.name),
            str(one.interval),
            f"{one.candles:,}",
            f"{one.start:%Y-%m-%d}",
            f"{one.end:%Y-%m-%d}",
            str(len(one.warnings)),
            str(len(one.notes)),
            str(len(one.quality.segments)),
            percent(one.quality.kept_share),
            one.verdict + (", simulated" if one.simulated else ""),
        )
        yield f"| {' | '.join(cells)} |"


def _section(one: Checked) -> Iterator[str]:
    rules, quality = one.quality.rules, one.quality
    yield f"## {_plain(one.name)}, {one.interval}: {one.verdict}"
    yield ""
    if one.simulated:
        yield from ("**Simulated: these candles never traded.**", "")
    zone = one.timezone or "timezone unknown"
    yield f"{_code(one.path)}: {one.candles:,} candles from {one.start} to {one.end} ({zone})."
    yield (
        f"Rules for {rules.row or one.interval}: segments of at least {rules.min_length:,} candles, jumps up to "
        f"{100 * rules.price_jump:g} %, at most {rules.illiquid_run} in a row without volume and {rules.stagnant_run} "
        f"without movement. Kept: {quality.kept:,} ({percent(quality.kept_share)}). {_sentence(why(one))}".rstrip()
    )
    yield from _list("Findings", [f"{f.severity}: {f.message}{rows_text(f.rows)}" for f in one.findings])
    yield from _list("Notes", quality.notes)
    spans = zip(quality.segments, one.spans, strict=True)
    yield from _list("Segments", [f"{len(segment):,} candles, {a} to {b}" for segment, (a, b) in spans])
    yield from _list("Splits, and what was left out", [str(reason) for reason in quality.reasons])


def _list(title: str, items: Iterable[str]) -> Iterator[str]:
    items = list(items)
    if not items:
        return
    yield from ("", f"{title}:", "")
    yield from (f"- {_plain(item)}" for item in items[:REASONS])
    if len(items) > REASONS:
        yield f"- … and {len(items) - REASONS:,} more"


def rows_text(rows: Sequence[int]) -> str:
    """The rows that a message leaves out: it names three itself."""
    return f" Rows: {', '.join(map(str, rows))}." if len(rows) > 3 else ""


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _code(path: Path) -> str:
    return f"`{str(path).replace('`', '')}`"


def _plain(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#" else c for c in " ".join(text.split()))
