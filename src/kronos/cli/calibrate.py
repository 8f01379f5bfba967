"""``kronos calibrate``: its options, and the way from files to a calibration. What it prints is in `calibrate_view`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kronos.cli import walking
from kronos.cli import walking_options as options
from kronos.cli.completing import baseline_names
from kronos.cli.console import print_json
from kronos.cli.requests import Sampling
from kronos.cli.walking_requests import Effort, Models, Reading, Span, Walk
from kronos.errors import ParameterError, StorageError

if TYPE_CHECKING:
    from kronos.evaluation import Plan
    from kronos.evaluation.fitting import Fitted

EPILOG = (
    "[bold]Examples[/bold]\n\n"
    "kronos calibrate candles/ --splits splits.csv --output nano.json\n\n"
    "kronos calibrate btc_1h.csv eth_1h.csv --market crypto --to 2024-06-01 --stride 7\n\n"
    "kronos calibrate candles/ --model kronos-small --from 2024-07-01 --to 2025-01-01 --no-pool\n\n"
    "kronos calibrate candles/ --effects   [dim](every part alone, and together)[/dim]\n\n"
    "kronos forecast btc_1h.csv --calibration out/calibration/calibration.json   [dim](then use it)[/dim]"
)
_FIT = "Calibration"
_FILE = "calibration.json"
_STRIDE = 11  # shares no divisor with the candles of the usual sessions: every time of day is met


def calibrate(
    paths: options.Paths,
    part: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="PART",
            help="anchor, drift, dispersion, pooling, conformal; may be given again.",
            show_default="all",
            rich_help_panel=_FIT,
        ),
    ] = None,
    pool_with: Annotated[
        str,
        typer.Option(
            metavar="BASELINE", help="The baseline to pool with.", autocompletion=baseline_names, rich_help_panel=_FIT
        ),
    ] = "filtered-historical-simulation",
    no_pool: Annotated[bool, typer.Option("--no-pool", help="All parts but pooling.", rich_help_panel=_FIT)] = False,
    asymmetric: Annotated[
        bool,
        typer.Option("--asymmetric", help="Let the ends of bands and the median move apart.", rich_help_panel=_FIT),
    ] = False,
    effects: Annotated[
        bool, typer.Option("--effects", help="Compare every part alone and together.", rich_help_panel=_FIT)
    ] = False,
    market: options.Market = None,
    interval: options.Interval = None,
    timezone: options.Timezone = None,
    strict: options.Strict = False,
    start: options.From = None,
    end: options.To = None,
    split: options.Part = None,
    splits: options.Splits = None,
    horizon: options.Horizon = 24,
    stride: Annotated[
        int,
        typer.Option(
            help="Candles from one origin to the next; one that meets every time of day.", rich_help_panel=options.WALK
        ),
    ] = _STRIDE,
    lookback: options.Lookback = None,
    most: options.Most = None,
    samples: options.Samples = 50,
    seed: options.Seed = 1,
    preset: options.Preset = "default",
    temperature: options.Temperature = None,
    top_p: options.TopP = None,
    top_k: options.TopK = None,
    model: options.OneModel = None,
    tokenizer: options.Tokenizer = None,
    device: options.Device = None,
    precision: options.Precision = None,
    workers: options.Workers = None,
    output: Annotated[
        Path,
        typer.Option(
            help="Folder for the run and its calibration.json, or a file's name for the calibration.",
            rich_help_panel=options.OUT,
        ),
    ] = Path("out/calibration"),
    fresh: options.Fresh = False,
    json: options.Json = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Learn from past forecasts how to correct a model's: its level, drift, width, and its weight beside a baseline.

    Give the dates before those that you will judge by: the validation part of a split, or --to. What the corrections
    are worth is measured on dates that they were not fitted on.
    """
    if verbose and quiet:
        raise ParameterError("-v and -q contradict each other; leave one out.")
    span = Span(start, end, split or (None if start or end else "validation"), splits)
    span.check()
    folder, file = (output.parent / output.stem, output) if output.suffix == ".json" else (output, output / _FILE)
    if file.is_dir():
        raise StorageError(f"Cannot write {file}: a folder of that name exists; choose another name.")
    asked = _Asked(
        Reading(tuple(paths), market, interval, timezone, strict),
        span,
        Walk(horizon, stride, lookback, most),
        Models(
            (model,) if model else (),
            tokenizer,
            Sampling(horizon, samples, seed, preset, temperature, top_p, top_k, lookback),
            device,
            precision,
        ),
        Effort(samples, seed, workers, folder, fresh),
        _parts(part, no_pool),
        pool_with,
        not asymmetric,
        effects,
    )
    result = _fitted(asked, file, wanted=not (quiet or json))
    result.fitted.calibration.save(file)
    if json:
        print_json(_document(result))
    elif not quiet:
        from kronos.cli.calibrate_view import show

        show(result, verbose=verbose)


@dataclass(frozen=True)
class _Asked:
    """All that was asked for."""

    reading: Reading
    span: Span
    walk: Walk
    models: Models
    effort: Effort
    parts: tuple[str, ...]
    pool_with: str
    symmetric: bool
    effects: bool


@dataclass(frozen=True)
class Result:
    """What came out, and what a reader wants to know beside it.

    Attributes:
        plan: The origins.
        dates: Where their dates come from, in words.
        fitted: The calibration and what it does.
        warnings: What speaks against trusting it.
        file: Where it is written.
    """

    plan: Plan
    dates: str
    fitted: Fitted
    warnings: Sequence[str]
    file: Path


def _parts(given: Sequence[str] | None, no_pool: bool) -> tuple[str, ...]:
    """Which parts to fit."""
    from kronos.calibration import PARTS
    from kronos.calibration.parts import check_parts

    if given and no_pool:
        raise ParameterError("--with names the parts, and --no-pool too; leave one out.")
    if no_pool:
        return tuple(name for name in PARTS if name != "pooling")
    return check_parts(given) if given else PARTS


def _fitted(asked: _Asked, file: Path, *, wanted: bool) -> Result:
    """Read, forecast, fit.

    Raises:
        KronosError: One sentence on whatever is wrong.
        typer.Exit: With status 130 at Ctrl-C.
    """
    from kronos.evaluation.calibrating import check_pooled

    if "pooling" in asked.parts:
        check_pooled(asked.pool_with)  # a wrong name is told before anything is read, or forgotten
    begun = walking.begin(asked.reading, asked.span, asked.walk, asked.models, wanted=wanted)
    asked.effort.prepare()
    from kronos.evaluation.cutoffs import cutoffs, learnt_from
    from kronos.evaluation.effects import usual_settings
    from kronos.evaluation.fitting import calibrate as fit

    compare: Mapping[str, Sequence[str]] = {}
    if asked.effects:
        settings = usual_settings("pooling" in asked.parts)
        compare = {name: parts for name, parts in settings.items() if parts and parts != asked.parts}
    title = f"Forecasting at {len(begun.plan):,} origins"
    with walking.walking(asked.effort, title, wanted=wanted, then="Fitting") as progress:
        found = fit(
            begun.plan,
            begun.loaded[0].forecaster,
            asked.effort.folder,
            asked.effort.settings(),
            parts=asked.parts,
            pool_with=asked.pool_with,
            symmetric=asked.symmetric,
            compare=compare,
            workers=walking.workers_for(asked.effort.workers, begun.loaded),
            progress=progress,
        )
    one = begun.loaded[0]
    told = learnt_from(one.name, begun.plan, cutoffs(one.predictor, begun.plan))
    return Result(begun.plan, begun.dated.words, found, told, file)


def _document(result: Result) -> dict[str, Any]:
    return {
        "origins": len(result.plan),
        "dates": result.dates,
        "warnings": list(result.warnings),
        "calibration": result.fitted.calibration.to_dict(),
        "effects": [asdict(one) for one in result.fitted.effects],
        "file": str(result.file),
    }
