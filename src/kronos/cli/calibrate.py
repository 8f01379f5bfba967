"""``kronos calibrate``: its options, and the way from files to a calibration. What it prints is in `calibrate_view`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from kronos.cli import evaluation_setup, options
from kronos.cli.console import Column, page, print_json, table, width
from kronos.cli.evaluation_arguments import ContenderModelArgs, DateArgs, InputArgs, OriginArgs, RunArgs
from kronos.cli.model_loading import SamplingArgs
from kronos.cli.options import baseline_names
from kronos.errors import ParameterError, StorageError

if TYPE_CHECKING:
    from kronos.evaluation import Plan
    from kronos.evaluation.ablation import Effect
    from kronos.evaluation.calibration import Fitted
    from kronos.metrics import Estimate

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
    span = DateArgs(start, end, split or (None if start or end else "validation"), splits)
    span.check()
    folder, file = (output.parent / output.stem, output) if output.suffix == ".json" else (output, output / _FILE)
    if file.is_dir():
        raise StorageError(f"Cannot write {file}: a folder of that name exists; choose another name.")
    asked = _Asked(
        InputArgs(tuple(paths), market, interval, timezone, strict),
        span,
        OriginArgs(horizon, stride, lookback, most),
        ContenderModelArgs(
            (model,) if model else (),
            tokenizer,
            SamplingArgs(horizon, samples, seed, preset, temperature, top_p, top_k, lookback),
            device,
            precision,
        ),
        RunArgs(samples, seed, workers, folder, fresh),
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
        show(result, verbose=verbose)


@dataclass(frozen=True)
class _Asked:
    """All that was asked for."""

    reading: InputArgs
    span: DateArgs
    walk: OriginArgs
    models: ContenderModelArgs
    effort: RunArgs
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
    from kronos.calibration.transforms import check_parts

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
    from kronos.evaluation.calibration import check_pooled

    if "pooling" in asked.parts:
        check_pooled(asked.pool_with)  # a wrong name is told before anything is read, or forgotten
    begun = evaluation_setup.prepare_evaluation(asked.reading, asked.span, asked.walk, asked.models, wanted=wanted)
    asked.effort.prepare()
    from kronos.evaluation.ablation import default_ablations
    from kronos.evaluation.calibration import calibrate as fit
    from kronos.evaluation.dates import cutoffs, learnt_from

    compare: Mapping[str, Sequence[str]] = {}
    if asked.effects:
        settings = default_ablations("pooling" in asked.parts)
        compare = {name: parts for name, parts in settings.items() if parts and parts != asked.parts}
    title = f"Forecasting at {len(begun.plan):,} origins"
    with evaluation_setup.evaluation_progress(asked.effort, title, wanted=wanted, then="Fitting") as progress:
        found = fit(
            begun.plan,
            begun.loaded[0].forecaster,
            asked.effort.folder,
            asked.effort.settings(),
            parts=asked.parts,
            pool_with=asked.pool_with,
            symmetric=asked.symmetric,
            compare=compare,
            workers=evaluation_setup.workers_for(asked.effort.workers, begun.loaded),
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


_ALL = "all"
_READING = (
    "CRPS of cumulative log returns in units of σ√h, lower is better; gain against the raw forecasts with its 95 % "
    "interval; the share of outcomes within the 50, 80 and 95 % bands. Corrected forecasts are judged on dates that "
    "their correction wasn't fitted on."
)


def show(result: Result, *, verbose: bool) -> None:
    """Print everything there is to see.

    Args:
        result: What came out.
        verbose: Whether to show each group.
    """
    from kronos.evaluation.scoring import LEAST, count_by_group

    plan, fitted, file = result.plan, result.fitted, result.file
    groups = fitted.trials.counts()
    large = count_by_group([name for name, count in groups.items() for _ in range(count)])
    names = [_ALL, *groups] if verbose and len(groups) > 1 else [_ALL]
    room = width()
    lines: list[Text | Table] = [
        Text(f"{len(plan):,} origins of {len(plan.instruments)} series, {result.dates}.", style="bold"),
        *(Text(f"! {one}", style="yellow") for one in result.warnings),
        Text(_READING, style="dim"),
        Text(),
    ]
    for name in names:
        title = "All forecasts" if name == _ALL else name
        if name == _ALL and len(groups) > 1:
            which = f"the {len(large)} groups of at least {LEAST} origins" if len(large) < len(groups) else "all groups"
            title = f"Mean over {which}"
        lines += [Text(title, style="bold")]
        lines += [_effects([one for one in fitted.effects if one.group == name], room), Text()]
    shown = [None, *groups] if verbose else [None]
    for group in shown:
        lines += [Text(fitted.calibration.describe(group)), Text()]
    nothing = [group for group in groups if "pooling" in fitted.calibration.parts and _silent(fitted, group)]
    if nothing:
        lines += [Text(f"In {', '.join(nothing)} the model adds nothing: its weight is 0.", style="bold"), Text()]
    lines += [
        Text(f"Written to {file}. Use it:"),
        Text(f"  kronos forecast FILE --calibration {file}"),
        Text(f"  kronos evaluate PATH --calibration {file}"),
    ]
    page(*lines)


def _silent(fitted: Fitted, group: str) -> bool:
    return fitted.calibration.adds_nothing(group)


def _effects(effects: Sequence[Effect], room: int) -> Table:
    """One line a step and setting."""
    return table(
        Column("steps", _once([str(one.step) for one in effects])),
        Column("forecasts", [one.setting for one in effects]),
        Column("n", [f"{one.n:,}" for one in effects], right=True, spare=3),
        Column("CRPS", [f"{one.crps:.3f}" for one in effects], right=True),
        Column("gain", [_gain(one.gain) for one in effects], right=True),
        Column("", [_range(one.gain) for one in effects], right=True, spare=2),
        *(
            Column(f"{band} %", [_share(one.coverage[band]) for one in effects], right=True, spare=spare)
            for band, spare in (("50", 1), ("80", 0), ("95", 1))
        ),
        width=room,
    )


def _once(values: Sequence[str]) -> list[str]:
    """Each value where it begins only."""
    return [value if place == 0 or values[place - 1] != value else "" for place, value in enumerate(values)]


def _gain(one: Estimate) -> str:
    return "" if one.estimate == 0 else f"{one.estimate:+.1%}"


def _range(one: Estimate) -> str:
    return "" if one.estimate == 0 else f"{one.low:+.1%} to {one.high:+.1%}"


def _share(one: Estimate) -> str:
    return f"{one.estimate:.1%}"
