"""Report of ``kronos data check`` as a JSON document or as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kronos.atomic import write_text
from kronos.cli.reading_options import name_options
from kronos.formatting import join_names, plural, to_json

if TYPE_CHECKING:
    from kronos.candles.quality_filters import Reason
    from kronos.datasets.inspection import InspectedSeries, InspectionReport

_MAX_ITEMS = 100  # items per list in a document, which also states their number
EXPLANATION = (
    "Kept: candles that pass the filters of the Kronos paper (arXiv 2508.02739, Table 4): no missing prices, jumps, "
    "runs without volume or movement, or segments that are too short. good: no warning and 95 % kept; fair: half "
    "kept; poor: less; unfit: nothing; too short: fewer candles than a segment needs."
)


def write_report(report: InspectionReport, path: Path) -> None:
    """Write a report as JSON or Markdown, by the extension of its file.

    Raises:
        StorageError: If the file cannot be written.
    """
    write_text(path, to_json(document(report)) + "\n" if path.suffix.lower() == ".json" else markdown(report))


def document(report: InspectionReport) -> dict[str, Any]:
    """Return the report as a JSON document."""
    from kronos import __version__

    return {
        "kronos": __version__,
        "totals": {
            "series": len(report.series),
            "candles": report.candles,
            "kept": report.kept,
            "segments": report.segments,
            "warnings": report.warnings,
            "verdicts": report.verdicts,
            "unreadable": len(report.unreadable),
        },
        "series": [_entry(series) for series in report.series],
        "unreadable": [{"path": str(file.path), "problem": name_options(file.problem)} for file in report.unreadable],
        "passed_over": [str(path) for path in report.passed_over],
    }


def _entry(series: InspectedSeries) -> dict[str, Any]:
    return {
        "path": str(series.path),
        "name": series.name,
        "interval": str(series.interval),
        "candles": series.candles,
        "start": series.start.isoformat(),
        "end": series.end.isoformat(),
        "timezone": series.timezone,
        "simulated": series.simulated,
        "has_volume": series.has_volume,
        "has_amount": series.has_amount,
        "verdict": series.verdict,
        "findings": [
            {"severity": f.severity, "code": f.code, "count": f.count, "rows": list(f.rows), "message": f.message}
            for f in series.findings
        ],
        "quality": _quality(series),
    }


def _quality(series: InspectedSeries) -> dict[str, Any]:
    from kronos.datasets.summary import quality_counts

    quality = series.quality
    return {
        **quality_counts(quality),
        "kept": quality.kept,
        "kept_share": round(quality.kept_share, 6),
        "segments": [
            {"rows": [segment.start, segment.stop], "start": start.isoformat(), "end": end.isoformat()}
            for segment, (start, end) in zip(quality.segments, series.spans, strict=True)
        ],
        "reasons": [_reason(reason) for reason in quality.reasons[:_MAX_ITEMS]],
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


def markdown(report: InspectionReport) -> str:
    """Return the report as Markdown."""
    from kronos import __version__
    from kronos.provenance import now_utc

    lines = ["# Data check", "", f"kronos {__version__}, {now_utc()}.", "", *total_lines(report), ""]
    if report.series:
        lines += [*_overview(report.series), "", EXPLANATION, ""]
    for series in report.series:
        lines += [*_section(series), ""]
    for title, rows in (
        (
            "Unreadable files",
            [f"- {_code(file.path)}: {_escape(name_options(file.problem))}" for file in report.unreadable],
        ),
        ("Skipped: no candles", [f"- {_code(path)}" for path in report.passed_over]),
    ):
        lines += [f"## {title}", "", *rows, ""] if rows else []
    return "\n".join(lines).rstrip() + "\n"


def total_lines(report: InspectionReport) -> list[str]:
    """Return the totals as sentences."""
    lines = []
    if report.series:
        verdicts = ", ".join(f"{count:,} {verdict}" for verdict, count in report.verdicts.items())
        lines.append(
            f"{len(report.series):,} series with {report.candles:,} candles: "
            f"{kept_percent(report.kept / report.candles)} kept in {plural(report.segments, 'segment')}; {verdicts}."
        )
    if report.unreadable:
        lines.append(f"{plural(len(report.unreadable), 'file')} could not be read.")
    if report.passed_over:
        lines.append(f"Skipped, no candles: {join_names([path.name for path in report.passed_over])}.")
    return lines


def kept_percent(share: float) -> str:
    """Format a share such as ``97.3 %``; only exact shares read 0 % and 100 %."""
    if share in (0.0, 1.0):
        return f"{share:.0%}".replace("%", " %")
    return f"{min(max(100 * share, 0.1), 99.9):.1f} %"


def split_and_excluded(series: InspectedSeries) -> str:
    """Return what splits a series and which candles are excluded, as one phrase; empty if nothing."""
    quality = series.quality
    splits = [plural(count, noun) for count, noun in ((quality.gaps, "gap"), (quality.jumps, "jump")) if count]
    excluded = [
        f"{count:,} {description}"
        for count, description in (
            (quality.illiquid, "without trading"),
            (quality.stagnant, "without movement"),
            (quality.short, f"in segments under {quality.rules.min_length:,}"),
        )
        if count
    ]
    parts = ([" and ".join(splits)] if splits else []) + ([f"excluded: {', '.join(excluded)}"] if excluded else [])
    return "; ".join(parts)


def _overview(series: Sequence[InspectedSeries]) -> Iterator[str]:
    yield "| series | interval | candles | from | to | warnings | notes | segments | kept | verdict |"
    yield "|---|---|--:|---|---|--:|--:|--:|--:|---|"
    for entry in series:
        cells = (
            _escape(entry.name),
            str(entry.interval),
            f"{entry.candles:,}",
            f"{entry.start:%Y-%m-%d}",
            f"{entry.end:%Y-%m-%d}",
            str(len(entry.warnings)),
            str(len(entry.notes)),
            str(len(entry.quality.segments)),
            kept_percent(entry.quality.kept_share),
            entry.verdict + (", simulated" if entry.simulated else ""),
        )
        yield f"| {' | '.join(cells)} |"


def _section(series: InspectedSeries) -> Iterator[str]:
    rules, quality = series.quality.rules, series.quality
    yield f"## {_escape(series.name)}, {series.interval}: {series.verdict}"
    yield ""
    if series.simulated:
        yield from ("**Simulated: these candles never traded.**", "")
    zone = series.timezone or "timezone unknown"
    yield f"{_code(series.path)}: {series.candles:,} candles from {series.start} to {series.end} ({zone})."
    summary = split_and_excluded(series)
    yield (
        f"Rules for {rules.row or series.interval}: segments of at least {rules.min_length:,} candles, jumps up to "
        f"{100 * rules.price_jump:g} %, at most {rules.illiquid_run} in a row without volume and {rules.stagnant_run} "
        f"without movement. Kept: {quality.kept:,} ({kept_percent(quality.kept_share)})."
        + (f" {summary[0].upper()}{summary[1:]}." if summary else "")
    )
    yield from _list(
        "Findings", [f"{f.severity}: {name_options(f.message)}{more_rows(f.rows)}" for f in series.findings]
    )
    yield from _list("Notes", quality.notes)
    spans = zip(quality.segments, series.spans, strict=True)
    yield from _list("Segments", [f"{len(segment):,} candles, {start} to {end}" for segment, (start, end) in spans])
    yield from _list("Splits and excluded candles", [str(reason) for reason in quality.reasons])


def _list(title: str, items: Iterable[str]) -> Iterator[str]:
    items = list(items)
    if not items:
        return
    yield from ("", f"{title}:", "")
    yield from (f"- {_escape(item)}" for item in items[:_MAX_ITEMS])
    if len(items) > _MAX_ITEMS:
        yield f"- … and {len(items) - _MAX_ITEMS:,} more"


def more_rows(rows: Sequence[int]) -> str:
    """Return the rows of a finding if there are more than the three that its message names."""
    return f" Rows: {', '.join(map(str, rows))}." if len(rows) > 3 else ""


def _code(path: Path) -> str:
    return f"`{str(path).replace('`', '')}`"


def _escape(text: str) -> str:
    """Escape text for one line of Markdown."""
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#" else c for c in " ".join(text.split()))
