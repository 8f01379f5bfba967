"""``kronos evaluate``: from files of candles to a verdict on models, beside every baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kronos.cli import options as ask
from kronos.cli.console import join_names
from kronos.cli.evaluation_arguments import ContenderModelArgs, DateArgs, InputArgs, OriginArgs, RunArgs
from kronos.cli.evaluation_setup import EvaluationData, EvaluationDates, EvaluationResult, LoadedModel
from kronos.cli.model_loading import SamplingArgs
from kronos.cli.options import baseline_names
from kronos.errors import ParameterError, StorageError

if TYPE_CHECKING:
    from kronos.evaluation import Correction, Evaluation

EPILOG = (
    "[bold]Examples[/bold]\n\n"
    "kronos evaluate btc_1h.csv\n\n"
    "kronos evaluate data/candles --model kronos-small --model kronos-base --horizon 24\n\n"
    "kronos evaluate data/candles --calibrate --from 2024-07-01 --report quality.html\n\n"
    "kronos evaluate data/candles --splits splits.csv --part validation --most 400   [dim](a quick look)[/dim]\n\n"
    "kronos evaluate data/kronos_datasets/model_a_4h --output out/model_a --json > verdict.json"
)
_JSON, _SCORES, _REPORT = "evaluation.json", "scores.parquet", "report.html"


@dataclass(frozen=True)
class ContenderArgs:
    """What models are compared with, and corrected by.

    Attributes:
        baselines: Their names; none for all.
        reference: The one that skill is measured against.
        own: Whether the calibrations that ship with the models stand in the table too.
        calibrations: Files of others.
    """

    baselines: tuple[str, ...]
    reference: str
    own: bool
    calibrations: tuple[Path, ...]

    def check(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            ParameterError: If two calibrations are asked for.
        """
        if self.own and self.calibrations:
            raise ParameterError(
                "--calibrate takes the models' own calibrations, --calibration another; leave one out."
            )


@dataclass(frozen=True)
class EvaluationOutputArgs:
    """What is written and printed.

    Attributes:
        report: The page; None for the one in the output folder.
        json: Whether stdout gets one JSON document.
        verbose: Whether to show everything.
        quiet: Whether to print nothing but errors.
    """

    report: Path | None
    json: bool
    verbose: bool
    quiet: bool

    def check(self) -> None:
        """Refuse what contradicts itself, or cannot be written.

        Raises:
            ParameterError: If options contradict each other, or the report is no page.
            StorageError: If the report is a folder.
        """
        if self.verbose and self.quiet:
            raise ParameterError("-v and -q contradict each other; leave one out.")
        if self.report is None:
            return
        if self.report.suffix.lower() not in (".html", ".htm"):
            raise ParameterError(f"--report {self.report.name} is no page; let its name end in .html.")
        if self.report.is_dir():
            raise StorageError(f"Cannot write {self.report}: a folder of that name exists; choose another name.")


@dataclass(frozen=True)
class EvaluateArgs:
    """All of it."""

    reading: InputArgs
    span: DateArgs
    walk: OriginArgs
    models: ContenderModelArgs
    against: ContenderArgs
    effort: RunArgs
    telling: EvaluationOutputArgs


def evaluate(
    paths: ask.Paths,
    model: ask.Model = None,
    tokenizer: ask.Tokenizer = None,
    device: ask.Device = None,
    precision: ask.Precision = None,
    workers: ask.Workers = None,
    horizon: ask.Horizon = 24,
    stride: ask.Stride = None,
    lookback: ask.Lookback = None,
    most: ask.Most = None,
    samples: ask.Samples = 50,
    seed: ask.Seed = 1,
    preset: ask.Preset = "default",
    temperature: ask.Temperature = None,
    top_p: ask.TopP = None,
    top_k: ask.TopK = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            "--baseline",
            help="Stands in the table; may be given again.",
            show_default="all there are",
            autocompletion=baseline_names,
            rich_help_panel=ask.DRAW,
        ),
    ] = None,
    reference: Annotated[
        str,
        typer.Option(
            help="The baseline that skill is measured against.", autocompletion=baseline_names, rich_help_panel=ask.DRAW
        ),
    ] = "historical-volatility",
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate", help="Put each model with its own calibration beside it.", rich_help_panel=ask.DRAW
        ),
    ] = False,
    calibration: Annotated[
        list[Path] | None,
        typer.Option(
            "--calibration",
            metavar="FILE",
            help="Put the model with a calibration that 'kronos calibrate' saved beside it.",
            rich_help_panel=ask.DRAW,
        ),
    ] = None,
    market: ask.Market = None,
    interval: ask.Interval = None,
    timezone: ask.Timezone = None,
    from_: ask.From = None,
    to: ask.To = None,
    part: ask.Part = None,
    splits: ask.Splits = None,
    strict: ask.Strict = False,
    output: Annotated[
        Path,
        typer.Option(
            help="Folder of everything that is written; an interrupted run goes on there.", rich_help_panel=ask.OUT
        ),
    ] = Path("out/evaluation"),
    fresh: ask.Fresh = False,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Where to write the page.", show_default="report.html there", rich_help_panel=ask.OUT
        ),
    ] = None,
    json: ask.Json = False,
    verbose: ask.Verbose = False,
    quiet: ask.Quiet = False,
) -> None:
    """Evaluate models: forecast at many past origins, score what came, and say in words whether to believe it.

    Every model stands beside all baselines, and skill is measured against one of them, with its uncertainty.

    Forecasts are kept: the same command goes on where an interrupted one was.

    Dates: [bold]--from[/bold] and [bold]--to[/bold], else a split's test dates, else what is new to the models.
    """
    request = EvaluateArgs(
        InputArgs(tuple(paths), market, interval, timezone, strict),
        DateArgs(from_, to, part, splits),
        OriginArgs(horizon, stride, lookback, most),
        ContenderModelArgs(
            tuple(model or ()),
            tokenizer,
            SamplingArgs(horizon, samples, seed, preset, temperature, top_p, top_k, lookback),
            device,
            precision,
        ),
        ContenderArgs(tuple(baseline or ()), reference, calibrate, tuple(calibration or ())),
        RunArgs(samples, seed, workers, output, fresh),
        EvaluationOutputArgs(report, json, verbose, quiet),
    )
    for one in (request.span, request.against, request.telling):
        one.check()
    result = run(request)
    if json:
        from kronos.cli.console import print_json

        print_json(document(result))
    elif not quiet:
        from kronos.cli.evaluate_view import show

        show(result, verbose=verbose)


def run(request: EvaluateArgs) -> EvaluationResult:
    """Read, plan, forecast, score, write.

    Raises:
        KronosError: One sentence on whatever is wrong.
        typer.Exit: With status 130 at Ctrl-C.
    """
    from kronos.cli import evaluation_setup
    from kronos.evaluation import baseline_forecasters, cutoffs
    from kronos.evaluation import evaluate as score

    effort, wanted = request.effort, not request.telling.quiet
    settings = effort.settings()
    others = baseline_forecasters(request.against.baselines or None)
    baseline_forecasters([request.against.reference])  # a wrong name is told before anything is read
    begun = evaluation_setup.prepare_evaluation(
        request.reading, request.span, request.walk, request.models, wanted=wanted
    )
    corrections = _corrections(request.against, begun.loaded)
    workers = evaluation_setup.workers_for(effort.workers, begun.loaded)
    effort.prepare()
    title = f"Forecasting at {len(begun.plan):,} origins"
    with evaluation_setup.evaluation_progress(effort, title, wanted=wanted, then="Scoring") as progress:
        evaluation = score(
            begun.plan,
            [one.forecaster for one in begun.loaded],
            effort.folder,
            settings,
            baselines=others,
            reference=request.against.reference,
            corrections=corrections,
            trained_until={one.name: cutoffs(one.predictor, begun.plan) for one in begun.loaded},
            workers=workers,
            progress=progress,
        )
        evaluation = replace(evaluation, warnings=[*_simulated(begun.data), *evaluation.warnings])
        return _write(evaluation, begun.data, begun.dated, request)


def document(result: EvaluationResult) -> dict[str, Any]:
    """Everything ready for JSON: the evaluation, what it was made on, and what was written."""
    gathered = result.data.gathered
    data = {
        "dates": result.dated.words,
        "series": [
            {
                "name": one.name,
                "group": one.group,
                "source": one.candles.source,
                "simulated": one.candles.simulated,
                "candles": len(one.candles),
                "first": one.candles.start.isoformat(),
                "last": one.candles.end.isoformat(),
                "findings": [finding.message for finding in one.candles.findings if finding.severity == "warning"],
            }
            for one in gathered.instruments
        ],
        "unreadable": [{"path": str(one.path), "problem": one.problem} for one in gathered.unreadable],
        "passed_over": [str(path) for path in gathered.passed_over],
    }
    return {**result.evaluation.to_dict(), "data": data, "files": [str(path) for path in result.files]}


def _corrections(against: ContenderArgs, loaded: Sequence[LoadedModel]) -> list[Correction]:
    """The calibrated models that stand beside the raw ones.

    Raises:
        ParameterError: If a model has no calibration of its own, or a file is no model's.
        DataError: If a file is missing or no calibration.
    """
    from kronos.calibration import Calibration
    from kronos.evaluation import Correction, identity_of

    found: dict[str, Correction] = {}
    for one in loaded if against.own else ():
        calibration = one.predictor.calibration_for(True, one.sampling)
        assert calibration is not None
        found[one.name] = Correction(f"{one.name} calibrated", one.name, calibration)
    for path in against.calibrations:
        calibration = Calibration.load(path)
        differences = {one.name: calibration.identity.differs(identity_of(one.forecaster)) for one in loaded}
        whose = next((name for name, difference in differences.items() if not difference), None)
        if whose is None:
            raise ParameterError(
                f"{path} is no calibration of {loaded[0].name}: their {differences[loaded[0].name]}; fit one for it "
                f"(kronos calibrate), or evaluate the model that it belongs to."
            )
        if whose in found:
            raise ParameterError(f"{path} is a second calibration of {whose}; evaluate one at a time.")
        found[whose] = Correction(f"{whose} calibrated", whose, calibration)
    return list(found.values())


def _simulated(data: EvaluationData) -> list[str]:
    """The warning that candles never traded."""
    names = data.gathered.simulated
    if not names:
        return []
    which = "All candles are" if len(names) == len(data.instruments) else f"The candles of {join_names(names)} are"
    return [f"{which} SIMULATED and never traded: this says nothing about markets."]


def _write(
    evaluation: Evaluation, data: EvaluationData, dated: EvaluationDates, request: EvaluateArgs
) -> EvaluationResult:
    """Write the page, the document and the scores.

    Raises:
        StorageError: If the file system refuses.
    """
    from kronos.atomic import atomic_path, write_text
    from kronos.cli.console import dump_json
    from kronos.evaluation.report.report import write_report

    output = request.effort.output
    files = (request.telling.report or output / _REPORT, output / _JSON, output / _SCORES)
    result = EvaluationResult(evaluation, data, dated, files)
    write_report(evaluation, files[0])
    write_text(files[1], dump_json(document(result)) + "\n")
    with atomic_path(files[2]) as temporary:
        evaluation.scores.steps.to_parquet(temporary, index=False)
    return result
