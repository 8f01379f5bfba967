"""Report of a training as an HTML page: verdict, comparison, curves, data, settings; and an overview of several.

    write_reports([Path("outputs/models/model_a_4h"), Path("outputs/models/model_b_1d")])

Everything is read from the folders of the runs, so a report can be written again at any time, also for a training that
failed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kronos.formatting import MISSING
from kronos.reports import PageOptions, ReportPage, format_versions, inline_figures
from kronos.training.comparison import RULE, TrainingComparison
from kronos.training.report.summary import RunSummary, TrainingFigures, load_run_summary, save_curves, save_run_summary
from kronos.training.report.tables import TONES, TrainingTables
from kronos.training.run_folder import stage_folder

PAGE, DOCUMENT, CURVES = "report.html", "report.json", "curves.png"
OVERVIEW = "trainings.html"
_DEFAULT_OPTIONS = PageOptions()


def write_reports(
    runs: Sequence[RunSummary | Path], overview: Path | None = None, options: PageOptions = _DEFAULT_OPTIONS
) -> Path:
    """Write the report, its JSON and the curves of each run, and an overview if there are several.

    Args:
        runs: Summaries of runs, or their folders.
        overview: File of the overview; None for the parent folder of the first run.
        options: Appearance and language of the pages.

    Returns:
        The overview, or the only report.

    Raises:
        DataError: If a file in a folder is damaged.
        StorageError: If a file cannot be written.
    """
    summaries = [load_run_summary(run) if isinstance(run, Path) else run for run in runs]
    pages = []
    for summary in summaries:
        for stage in summary.stages:
            if stage.log is not None:
                save_curves(stage.log, stage_folder(summary.folder, stage.stage) / CURVES)
        save_run_summary(summary, summary.folder / DOCUMENT)
        pages.append(TrainingReport(summary, options).save(summary.folder / PAGE))
    if len(summaries) == 1:
        return pages[0]
    path = overview or summaries[0].folder.parent / OVERVIEW
    return TrainingOverview(summaries, path.parent, options).save(path)


class _TrainingPage(ReportPage):
    area = "training"

    def __init__(self, options: PageOptions) -> None:
        super().__init__(options)
        self._tables = TrainingTables(self.t)

    def _problems(self, summary: RunSummary) -> list[str]:
        """Why stages failed or were skipped, one sentence each."""
        return [
            self.text(
                "problem",
                stage=f"{self.text(f'stage.{stage.stage}')}, {self.text(f'states.{stage.state}')}",
                reason=stage.reason,
            )
            for stage in summary.stages
            if stage.reason
        ]

    def _footer(self, provenance: Mapping[str, Any]) -> str:
        version = provenance["versions"].get("kronos", "")
        return self.text("footer", version=version, created=provenance["created"])


class TrainingReport(_TrainingPage):
    """Report of one run.

    Args:
        summary: Summary of the run.
        options: Appearance and language.
    """

    template = "training.html"

    def __init__(self, summary: RunSummary, options: PageOptions = _DEFAULT_OPTIONS) -> None:
        super().__init__(options)
        self._summary, self._comparison = summary, summary.comparison

    @property
    def title(self) -> str:
        """A question about the comparison; without one, the progress."""
        compared = self._comparison is not None and self._comparison.names[0] is not None
        return self.text("title" if compared else "title_unfinished", name=self._summary.name)

    def content(self) -> dict[str, Any]:
        """Variables of the template."""
        summary, comparison = self._summary, self._comparison
        tables: dict[str, Any] = {
            "changes": [] if comparison is None else self._tables.changes(comparison),
            "contenders": None if comparison is None else self._tables.contenders(comparison),
            "curves": self._curves(),
            "data": self._tables.data(summary.data),
        }
        return tables | {
            "description": summary.description,
            "lead": self._lead(),
            "sections": self._sections(tables),
            "facts": self._facts(),
            "problems": self._problems(summary),
            "verdict": self._verdict(),
            "compared": comparison is not None,
            "warnings": [] if comparison is None else list(comparison.warnings),
            "notes": [] if comparison is None else list(comparison.notes),
            "against_baselines": [] if comparison is None else list(comparison.against_baselines),
            "against_baselines_title": ""
            if comparison is None
            else self.text("against_baselines", tuned=comparison.names[1]),
            "simulated": bool(summary.data.get("simulated")),
            "unreadable": [f"{file['path']}: {file['problem']}" for file in summary.data.get("unreadable", [])],
            "stages": self._tables.stages(summary.stages),
            "provenance": self._provenance(),
            "folded": self._folded(),
            "footer": self._footer(summary.provenance),
        }

    def _sections(self, tables: Mapping[str, Any]) -> list[str]:
        """Keys of the sections present on the page."""
        present = {
            "verdict": True,
            "warnings": self._comparison is not None,
            "comparison": bool(tables["changes"]),
            "baselines": tables["contenders"] is not None,
            "curves": bool(tables["curves"]),
            "data": bool(tables["data"]),
            "stages": True,
            "provenance": True,
        }
        return [name for name, shown in present.items() if shown]

    def _lead(self) -> str:
        comparison = self._comparison
        if comparison is None:
            return self.text("lead.none")
        key = "lead.scratch" if comparison.names[0] is None else "lead.compared"
        dates = {end: comparison.tested[end] for end in ("first", "last")}
        return self.text(key, start=comparison.names[0], tuned=comparison.names[1], **dates)

    def _facts(self) -> list[tuple[str, str]]:
        data = self._summary.data
        facts: dict[str, str] = {}
        if data:
            facts["trained"] = self._dates(data["parts"]["train"])
            facts["instruments"] = f"{sum(group['series'] for group in data['groups'].values()):,}"
            facts["candles"] = f"{data['candles']:,}"
        if self._comparison is not None:
            tested = self._comparison.tested
            facts["tested"] = self._dates(tested)
            counts = {"windows": "windows", "forecasts": "origins", "lookback": "lookback", "horizon": "horizon"}
            facts |= {name: f"{tested[key]:,}" for name, key in counts.items()}
        facts["time"] = self._tables.duration(self._summary.seconds)
        return self.labelled("facts", facts)

    def _dates(self, part: Mapping[str, Any]) -> str:
        first, last = (str(part[end] or MISSING)[:10] for end in ("first", "last"))
        return self.text("dates", first=first, last=last)

    def _verdict(self) -> dict[str, Any]:
        """The card of the verdict."""
        comparison = self._comparison
        badge = self._tables.verdict(comparison)
        card: dict[str, Any] = {"answer": badge.text, "tone": badge.tone}
        if comparison is None:
            reason = self._summary.not_compared or self.text("not_compared")
            return card | {"heading": self._summary.name, "reason": reason, "measures": [], "rule": ""}
        return card | {
            "heading": " → ".join(name for name in comparison.names if name is not None),
            "reason": "",
            "measures": self._measures(comparison),
            "rule": RULE if comparison.measures else "",
        }

    def _measures(self, comparison: TrainingComparison) -> list[dict[str, str]]:
        return [
            {
                "name": self.text(f"measures.{measure.name}"),
                "answer": self.text(f"answers.{measure.verdict}"),
                "tone": TONES[measure.verdict],
                "sentence": measure.sentence,
                "description": self.text(f"measure_descriptions.{measure.name}"),
            }
            for measure in comparison.measures
        ]

    def _curves(self) -> list[dict[str, Any]]:
        """Figures by stage."""
        curves = []
        for stage in self._summary.stages:
            if stage.log is not None:
                figures = TrainingFigures(stage.log, self.t, self.options.theme, self.options.palette).svg()
                curves.append({"title": self.text(f"stage.{stage.stage}"), "figures": inline_figures(figures)})
        return [stage for stage in curves if stage["figures"]]

    def _provenance(self) -> list[tuple[str, str]]:
        summary = self._summary
        values = {
            "folder": str(summary.folder),
            "created": str(summary.provenance["created"]),
            "versions": format_versions(summary.provenance["versions"]),
        }
        if self._comparison is not None:
            provenance = self._comparison.provenance
            values |= {"plan": str(provenance.get("plan", "")), "seed": str(provenance.get("seed", MISSING))}
        return self.labelled("provenance", values)

    def _folded(self) -> list[tuple[str, str]]:
        """Details that are folded: configuration, settings of the stages, files with their digests."""
        summary = self._summary
        details = [(self.text("config"), summary.config)] if summary.config else []
        for stage in summary.stages:
            if stage.log is not None and stage.log.plan:
                label = f"{self.text('settings')}: {self.text(f'stage.{stage.stage}')}"
                details.append((label, json.dumps(stage.log.plan, indent=1, ensure_ascii=False, default=str)))
        if summary.data.get("files"):
            lines = [json.dumps(file, ensure_ascii=False, default=str) for file in summary.data["files"]]
            details.append((self.text("files"), "\n".join(lines)))
        return details


class TrainingOverview(_TrainingPage):
    """Overview of several runs, with links to their reports.

    Args:
        summaries: Summaries of the runs.
        folder: Folder of the overview, for relative links.
        options: Appearance and language.
    """

    template = "trainings.html"

    def __init__(self, summaries: Sequence[RunSummary], folder: Path, options: PageOptions = _DEFAULT_OPTIONS) -> None:
        super().__init__(options)
        self._summaries, self._folder = summaries, folder

    @property
    def title(self) -> str:
        """The number of trainings."""
        return self.text("overview.title", count=len(self._summaries))

    def content(self) -> dict[str, Any]:
        """Variables of the template."""
        return {
            "table": self._tables.overview(self._summaries),
            "cards": [self._card(summary) for summary in self._summaries],
            "footer": self._footer(self._summaries[0].provenance),
        }

    def _card(self, summary: RunSummary) -> dict[str, Any]:
        badge = self._tables.verdict(summary.comparison)
        report = summary.folder / PAGE
        return {
            "name": summary.name,
            "description": summary.description,
            "report": quote(Path(os.path.relpath(report, self._folder)).as_posix()) if report.is_file() else "",
            "tone": badge.tone,
            "answer": badge.text,
            "sentence": summary.not_compared or "" if summary.comparison is None else summary.comparison.sentence,
            "problems": self._problems(summary),
        }
