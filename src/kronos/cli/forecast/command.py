"""``kronos forecast``: options and arguments, validated before anything heavy is imported."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from kronos.cli import options
from kronos.cli.files import STDIO, check_no_folder, check_suffix
from kronos.cli.model_loading import ModelArgs, SamplingArgs
from kronos.cli.reading_options import ReadingArgs
from kronos.errors import ParameterError

EPILOG = (
    "[bold]Examples[/bold]\n\n"
    "kronos forecast --demo --plot forecast.png\n\n"
    "kronos forecast btc_1h.csv --horizon 24 --samples 200 --seed 7 --output btc.parquet\n\n"
    "kronos forecast aapl_1d.csv --calendar XNYS --model kronos-small --preset conservative\n\n"
    "cat btc_1h.csv | kronos forecast - --output -   [dim](from stdin to stdout)[/dim]\n\n"
    "kronos forecast btc_1h.csv --no-calibrate   [dim](the paths as the model samples them)[/dim]\n\n"
    "kronos forecast gold_1h.csv --calibration mine.json --market commodity_cfd\n\n"
    "kronos forecast btc_1h.csv --adapt 100   [dim](bands that follow the outcomes in the history)[/dim]\n\n"
    "kronos forecast btc_1h.csv --as-of '2025-01-30 12:00' --plot replay.png   [dim](replay and score)[/dim]\n\n"
    "kronos forecast data/*.parquet --plot figures/ --output all.csv --json"
)
TABLE_SUFFIXES = (".parquet", ".csv", ".json", ".npz")
FIGURE_SUFFIXES = (".png", ".svg", ".pdf", ".jpg", ".jpeg", ".webp")


def forecast(
    files: options.Files = None,
    demo: options.Demo = False,
    horizon: options.Horizon = 24,
    samples: options.PresetSamples = None,
    seed: options.RandomSeed = None,
    preset: options.Preset = "default",
    temperature: options.Temperature = None,
    top_p: options.TopP = None,
    top_k: options.TopK = None,
    lookback: options.Lookback = None,
    as_of: options.AsOf = None,
    calibrate: options.Calibrate = None,
    calibration: options.Calibration = None,
    market: options.CalibrationMarket = None,
    adapt: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Correct the bands by the outcomes of forecasts from N earlier origins in the history, at least 50.",
            show_default="no correction",
            rich_help_panel=options.FORECAST_PANEL,
        ),
    ] = None,
    symbol: options.Symbols = None,
    interval: options.Interval = None,
    timezone: options.Timezone = None,
    column: options.Columns = None,
    decimal: options.Decimal = None,
    thousands: options.Thousands = None,
    date_format: options.DateFormat = None,
    header: options.Header = None,
    calendar: options.Calendar = None,
    strict: options.Strict = False,
    model: options.Model = None,
    tokenizer: options.Tokenizer = None,
    device: options.Device = None,
    precision: options.Precision = None,
    threads: options.Threads = None,
    plot: options.Plot = None,
    theme: options.Theme = "light",
    palette: options.Palette = "green-up",
    output: options.ForecastOutput = None,
    format_: options.Format = "wide",
    json: options.Json = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Forecast candles: sample possible future paths, and show their median, bands and probabilities.

    Several files are forecast together; those that cannot be used are skipped, listed, and lead to status 3. The
    default model is the bundled kronos-nano.
    """
    args = ForecastArgs(
        files=tuple(files or ()),
        demo=demo,
        symbols=tuple(symbol or ()),
        interval=interval,
        timezone=timezone,
        reading=ReadingArgs(column or (), decimal, thousands, date_format, header),
        calendar=calendar,
        strict=strict,
        as_of=as_of,
        sampling=SamplingArgs(horizon, samples, seed, preset, temperature, top_p, top_k, lookback),
        model=ModelArgs(model, tokenizer, device, precision, threads),
        calibrate=calibrate,
        calibration=calibration,
        market=market,
        adapt=adapt,
        plot=plot,
        theme=theme,
        palette=palette,
        output=output,
        format=format_,
        json=json,
        verbose=verbose,
        quiet=quiet,
    )
    args.validate()
    from kronos.cli.forecast.run import run

    run(args)


@dataclass(frozen=True, kw_only=True)
class ForecastArgs:
    """Arguments of ``kronos forecast``.

    Attributes:
        files: Candle files; ``-`` is stdin.
        demo: Whether to forecast the bundled sample instead.
        symbols: Instrument name of each file; empty to infer them.
        interval: Candle interval; None to infer it.
        timezone: IANA time zone of the timestamps; None to infer it.
        reading: How the files are written.
        calendar: Trading calendar; None to infer it.
        strict: Whether a series that cannot be used ends the command, instead of being skipped.
        as_of: Replay: time of the last candle of the history.
        sampling: How to sample.
        model: Model and device.
        calibrate: Whether to apply the calibration that ships with the model; None if there is one for this sampling.
        calibration: Saved calibration to apply instead.
        market: Market whose calibration factors apply; None to infer it from the calendar.
        adapt: Number of earlier origins whose outcomes correct the bands; None for no correction.
        plot: Figure, or folder for one figure per series.
        theme: Theme of the figures.
        palette: Palette of the figures.
        output: Table of the forecasts; its suffix sets the file format, and ``-`` is stdout.
        format: Quantiles by step, or every path.
        json: Whether stdout gets one JSON document.
        verbose: Whether to list findings and the details of the forecast.
        quiet: Whether to print nothing but errors.
    """

    files: tuple[Path, ...]
    demo: bool
    symbols: tuple[str, ...]
    interval: str | None
    timezone: str | None
    reading: ReadingArgs = field(default_factory=ReadingArgs)
    calendar: str | None
    strict: bool
    as_of: str | None
    sampling: SamplingArgs
    model: ModelArgs
    calibrate: bool | None
    calibration: Path | None
    market: str | None
    adapt: int | None = None
    plot: Path | None
    theme: options.ThemeName
    palette: options.PaletteName
    output: Path | None
    format: options.FormatName
    json: bool
    verbose: bool
    quiet: bool

    def validate(self) -> None:
        """Check the arguments that need no files to be read.

        Raises:
            ParameterError: If arguments are missing, contradict each other or have no effect, or a suffix is unknown.
        """
        if self.demo and self.files:
            raise ParameterError("--demo forecasts the bundled sample; leave out --demo or the files.")
        if not self.demo and not self.files:
            raise ParameterError("Nothing to forecast: give a file of candles, or --demo for the bundled sample.")
        if self.symbols and len(self.symbols) != max(1, len(self.files)):
            raise ParameterError(
                f"Got {len(self.symbols)} --symbol for {max(1, len(self.files))} files; give one for each."
            )
        if self.calibrate is not None and self.calibration is not None:
            raise ParameterError(
                "--calibrate and --no-calibrate concern the model's own calibration, --calibration is a saved one; "
                "leave one out."
            )
        if self.market is not None and self.calibrate is False:
            raise ParameterError("--market selects the factors of a calibration: leave out --market or --no-calibrate.")
        if self.verbose and self.quiet:
            raise ParameterError("-v and -q contradict each other; leave one out.")
        if self.prints_table and self.json:
            raise ParameterError("--output - and --json both print on stdout; leave one out.")
        if self.output is not None and not self.prints_table:
            check_suffix("--output", self.output, TABLE_SUFFIXES)
            check_no_folder("--output", self.output)
        if self.plot is not None and not self.plots_into_folder:
            check_suffix("--plot", self.plot, FIGURE_SUFFIXES)

    @property
    def prints_table(self) -> bool:
        """Whether stdout gets the table as CSV, and nothing else."""
        return self.output == STDIO

    @property
    def plots_into_folder(self) -> bool:
        """Whether ``--plot`` is a folder: an existing one, or a name without suffix."""
        return self.plot is not None and (self.plot.is_dir() or not self.plot.suffix)
