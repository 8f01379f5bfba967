"""``kronos forecast``: its options. What they ask for is done in `running`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kronos.cli.forecast.arguments import CalibrationArgs, CandleArgs, ForecastArgs, OutputArgs
from kronos.cli.model_loading import ModelArgs, SamplingArgs
from kronos.cli.options import PRESETS, FormatName, PaletteName, PrecisionName, ThemeName, model_names, preset_names

EPILOG = (
    "[bold]Examples[/bold]\n\n"
    "kronos forecast --demo --plot forecast.png\n\n"
    "kronos forecast btc_1h.csv --horizon 24 --samples 200 --seed 7 --output btc.parquet\n\n"
    "kronos forecast aapl_1d.csv --calendar XNYS --model kronos-small --preset conservative\n\n"
    "kronos forecast btc_1h.csv --calibrate   [dim](corrected by what past forecasts got wrong)[/dim]\n\n"
    "kronos forecast gold_1h.csv --calibration mine.json --market commodity_cfd\n\n"
    "kronos forecast btc_1h.csv --as-of '2025-01-30 12:00' --plot replay.png   [dim](hide, reveal, score)[/dim]\n\n"
    "kronos forecast data/*.parquet --plot pictures/ --output all.csv --json"
)
_READ, _DRAW, _MODEL, _OUT = "Reading the candles", "Forecast", "Model and machine", "Output"


def _calendars(incomplete: str) -> list[str]:
    """The usual names that complete ``--calendar``; every exchange's code works too."""
    usual = ("24/7", "FX", "XNYS", "XSHG", "XHKG", "XTKS", "XLON", "CN-FUTURES", "inferred")
    return [name for name in usual if name.lower().startswith(incomplete.lower())]


def forecast(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE", help="Candles: CSV, Feather or Parquet.", show_default=False),
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Take the sample that ships; it is simulated.", rich_help_panel=_READ)
    ] = False,
    horizon: Annotated[int, typer.Option("--horizon", "-n", help="Candles to forecast.", rich_help_panel=_DRAW)] = 24,
    samples: Annotated[
        int | None, typer.Option(help="Paths to sample; 100 if the preset doesn't say.", rich_help_panel=_DRAW)
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Makes the paths repeatable; the result states one.", rich_help_panel=_DRAW)
    ] = None,
    preset: Annotated[
        str,
        typer.Option(
            help=f"How paths are drawn: {', '.join(PRESETS)}.",
            autocompletion=preset_names,
            rich_help_panel=_DRAW,
        ),
    ] = "default",
    temperature: Annotated[float | None, typer.Option(help="Above 0; 1 is as learnt.", rich_help_panel=_DRAW)] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Keep that mass of tokens; below 1 bands get narrow.", rich_help_panel=_DRAW)
    ] = None,
    top_k: Annotated[int | None, typer.Option(help="Keep that many tokens; 0 is off.", rich_help_panel=_DRAW)] = None,
    lookback: Annotated[
        int | None, typer.Option(help="Candles of history to use, at most.", rich_help_panel=_DRAW)
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Replay: the candle stamped TIME is the last one known; what followed is shown and scored.",
            rich_help_panel=_DRAW,
        ),
    ] = None,
    calibrate: Annotated[
        bool,
        typer.Option("--calibrate", help="Correct the paths by the model's own calibration.", rich_help_panel=_DRAW),
    ] = False,
    calibration: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Correct them by one that 'kronos calibrate' saved.", rich_help_panel=_DRAW),
    ] = None,
    market: Annotated[
        str | None,
        typer.Option(
            help="Whose factors a calibration takes: crypto, us_equity …; else guessed from the calendar.",
            rich_help_panel=_DRAW,
        ),
    ] = None,
    symbol: Annotated[
        list[str] | None,
        typer.Option(help="The instrument's name, once for each file.", rich_help_panel=_READ),
    ] = None,
    interval: Annotated[
        str | None, typer.Option(help="A candle's length, such as 5m, 1h, 1d; else inferred.", rich_help_panel=_READ)
    ] = None,
    timezone: Annotated[
        str | None, typer.Option(help="Of the times, such as Asia/Shanghai.", rich_help_panel=_READ)
    ] = None,
    calendar: Annotated[
        str | None,
        typer.Option(
            help="When it trades: 24/7, FX, XNYS, XSHG, XHKG, CN-FUTURES …; else guessed.",
            autocompletion=_calendars,
            rich_help_panel=_READ,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Zoo name, hub id or folder (KRONOS_MODEL).",
            show_default="the bundled kronos-nano",
            autocompletion=model_names,
            rich_help_panel=_MODEL,
        ),
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="Another tokenizer than the model's own.", rich_help_panel=_MODEL)
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="cpu, cuda, cuda:1 or mps (KRONOS_DEVICE).", show_default="the best there is", rich_help_panel=_MODEL
        ),
    ] = None,
    precision: Annotated[
        PrecisionName | None,
        typer.Option(
            help="fast is bfloat16 where the hardware gains (KRONOS_PRECISION).",
            show_default="exact",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Of the processor (KRONOS_THREADS).", rich_help_panel=_MODEL)
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw a picture (.png, .svg, .pdf); a folder gets one a series.", rich_help_panel=_OUT),
    ] = None,
    theme: Annotated[ThemeName, typer.Option(help="Of the picture.", rich_help_panel=_OUT)] = "light",
    palette: Annotated[PaletteName, typer.Option(help="Colours of rise and fall.", rich_help_panel=_OUT)] = "green-up",
    output: Annotated[
        Path | None,
        typer.Option(help="Write a table: .parquet, .csv, .json; .npz keeps everything.", rich_help_panel=_OUT),
    ] = None,
    format_: Annotated[
        FormatName, typer.Option("--format", help="Averages and bands by step, or every path.", rich_help_panel=_OUT)
    ] = "wide",
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else.", rich_help_panel=_OUT)
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="List findings, and what made the forecast.", rich_help_panel=_OUT)
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print nothing but errors.", rich_help_panel=_OUT)
    ] = False,
) -> None:
    """Forecast candles: sample what may come next, with its uncertainty.

    Several files are forecast together. Without [bold]--model[/bold] the bundled kronos-nano is used.
    """
    request = ForecastArgs(
        CandleArgs(tuple(files or ()), demo, tuple(symbol or ()), interval, timezone, calendar, as_of),
        SamplingArgs(horizon, samples, seed, preset, temperature, top_p, top_k, lookback),
        CalibrationArgs(calibrate, calibration, market),
        ModelArgs(model, tokenizer, device, precision, threads),
        OutputArgs(plot, theme, palette, output, format_, json, verbose, quiet),
    )
    request.reading.check()
    request.correcting.check()
    request.showing.check()
    from kronos.cli.forecast.run import run

    run(request)
