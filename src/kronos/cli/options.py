"""The options of all commands, each defined once as a type for a command's parameter.

An alias without explicit flags is named by the parameter that uses it: ``top_p`` becomes ``--top-p``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from kronos.cli.completion import (
    PRESET_NAMES,
    complete_calendar,
    complete_checkpoint,
    complete_config,
    complete_model,
    complete_preset,
    complete_simulated_market,
    complete_training_config,
)

PrecisionName = Literal["exact", "fast"]
ThemeName = Literal["light", "dark"]
PaletteName = Literal["green-up", "red-up", "colour-blind"]
FormatName = Literal["wide", "long"]
SplitName = Literal["validation", "test"]
QualityName = Literal["paper", "none"]
ModeName = Literal["sequential", "parallel"]

DATA_PANEL = "Candles and dates"
ORIGINS_PANEL = "Forecast origins"
FORECAST_PANEL = "Forecasts"
MODEL_PANEL = "Model and device"
TRAINING_PANEL = "Training"
OUTPUT_PANEL = "Output"


def _argument(
    metavar: str | None,
    help_text: str,
    *,
    default: str | Literal[False] = False,
    complete: Callable[[str], list[str]] | None = None,
) -> Any:
    return typer.Argument(metavar=metavar, help=help_text, show_default=default, autocompletion=complete)


def _option(
    help_text: str,
    *flags: str,
    panel: str | None = None,
    default: str | bool = True,
    metavar: str | None = None,
    complete: Callable[[str], list[str]] | None = None,
    minimum: int | None = None,
) -> Any:
    """A typer option; ``default`` is the text that stands for a default of None."""
    return typer.Option(
        *flags,
        help=help_text,
        rich_help_panel=panel,
        show_default=default,
        metavar=metavar,
        autocompletion=complete,
        min=minimum,
    )


_BUNDLED = "the bundled kronos-nano"
_CONFIGURED = "the configuration's"
_SPLITS = "Split dates by market: market, validation_from, test_from, and optionally interval."
_SOURCES = (
    "Candle source: okx, binance or another exchange of ccxt, coingecko, yahoo, baostock, akshare, files:FOLDER, "
    "qlib:FOLDER, replay:FOLDER or simulated (KRONOS_SOURCE)."
)

# Candles and dates
Files = Annotated[list[Path] | None, _argument("FILE", "Candle files: CSV, JSON, Feather or Parquet; - is stdin.")]
Paths = Annotated[list[str], _argument("PATH", "Candle files, folders of candle files, or prepared datasets.")]
CandlePaths = Annotated[list[Path], _argument("PATH", "Candle files and folders of candle files.")]
Demo = Annotated[bool, _option("Forecast the bundled sample of simulated candles.", "--demo", panel=DATA_PANEL)]
Symbols = Annotated[list[str] | None, _option("Instrument name, once per file.", "--symbol", panel=DATA_PANEL)]
Interval = Annotated[
    str | None, _option("Candle interval, such as 5m, 1h or 1d.", default="inferred", panel=DATA_PANEL)
]
Timezone = Annotated[str | None, _option("Time zone of the timestamps, such as Asia/Shanghai.", panel=DATA_PANEL)]
Columns = Annotated[
    list[str] | None,
    _option(
        "Name of a column, or its position from 1: close=Schlusskurs, close=5; repeatable.",
        "--column",
        metavar="COLUMN=NAME",
        default="inferred",
        panel=DATA_PANEL,
    ),
]
Decimal = Annotated[
    str | None, _option("Decimal sign of the numbers: . or ,", "--decimal", default="inferred", panel=DATA_PANEL)
]
Thousands = Annotated[
    str | None,
    _option("Thousands sign of the numbers; '' for none.", "--thousands", default="inferred", panel=DATA_PANEL),
]
DateFormat = Annotated[
    str | None,
    _option(
        "Notation of the timestamps for strptime, such as %d.%m.%Y.",
        "--date-format",
        metavar="FORMAT",
        default="inferred",
        panel=DATA_PANEL,
    ),
]
Header = Annotated[
    int | None,
    _option(
        "Number of the line with the column names; 0 for none.",
        "--header",
        minimum=0,
        metavar="LINE",
        default="inferred",
        panel=DATA_PANEL,
    ),
]
Calendar = Annotated[
    str | None,
    _option(
        "Trading calendar: 24/7, FX, XNYS, XSHG, XHKG, CN-FUTURES or another exchange code.",
        default="inferred",
        complete=complete_calendar,
        panel=DATA_PANEL,
    ),
]
Market = Annotated[
    str | None,
    _option("Market of all series.", default="MANIFEST.csv, the sub-folder's name, or inferred", panel=DATA_PANEL),
]
Strict = Annotated[
    bool, _option("Stop at a series that cannot be used, instead of skipping it.", "--strict", panel=DATA_PANEL)
]
Quality = Annotated[
    QualityName,
    _option(
        "paper: leave out origins with price jumps, wrong prices or flat stretches, and count them; none: keep them.",
        "--quality",
        panel=DATA_PANEL,
    ),
]
From = Annotated[str | None, _option("First time to forecast.", "--from", metavar="TIME", panel=DATA_PANEL)]
To = Annotated[
    str | None, _option("End of the times to forecast, exclusive.", "--to", metavar="TIME", panel=DATA_PANEL)
]
Split = Annotated[
    SplitName | None, _option("Split to use, of --splits or prepared datasets.", "--split", panel=DATA_PANEL)
]
Splits = Annotated[
    Path | None,
    _option(_SPLITS, metavar="FILE", default="splits.csv in the candles' folder", panel=DATA_PANEL),
]

# Forecast origins
Stride = Annotated[
    int | None, _option("Candles between origins.", default="the horizon: no overlap", panel=ORIGINS_PANEL)
]
MaxOrigins = Annotated[
    int | None,
    _option(
        "Maximum number of origins per market and interval, spread evenly.",
        "--max-origins",
        metavar="N",
        panel=ORIGINS_PANEL,
    ),
]

# Forecasts
Horizon = Annotated[int, _option("Candles to forecast.", "--horizon", "-n", panel=FORECAST_PANEL)]
Lookback = Annotated[
    int | None, _option("Candles of history per forecast.", default="the model's maximum", panel=FORECAST_PANEL)
]
Samples = Annotated[int, _option("Number of sample paths.", panel=FORECAST_PANEL)]
PresetSamples = Annotated[
    int | None, _option("Number of sample paths.", default="the preset's, or 100", panel=FORECAST_PANEL)
]
Seed = Annotated[int, _option("Random seed.", panel=FORECAST_PANEL)]
RandomSeed = Annotated[int | None, _option("Random seed.", default="random, and reported", panel=FORECAST_PANEL)]
Preset = Annotated[
    str, _option(f"Sampling preset: {', '.join(PRESET_NAMES)}.", complete=complete_preset, panel=FORECAST_PANEL)
]
Temperature = Annotated[
    float | None,
    _option(
        "Sampling temperature above 0; 1 leaves the model's probabilities unchanged, lower values narrow the bands.",
        default="the preset's",
        panel=FORECAST_PANEL,
    ),
]
TopP = Annotated[
    float | None,
    _option(
        "Sample from the most likely tokens with this total probability; below 1 narrows the bands.",
        default="the preset's",
        panel=FORECAST_PANEL,
    ),
]
TopK = Annotated[
    int | None,
    _option("Sample from this many of the most likely tokens (0: all).", default="the preset's", panel=FORECAST_PANEL),
]
AsOf = Annotated[
    str | None,
    _option(
        "Replay: forecast from the candle at TIME, then compare with the candles after it.",
        metavar="TIME",
        panel=FORECAST_PANEL,
    ),
]
Calibrate = Annotated[
    bool | None,
    _option(
        "Apply the calibration that ships with the model.",
        "--calibrate/--no-calibrate",
        default="if there is one for this sampling",
        panel=FORECAST_PANEL,
    ),
]
Calibration = Annotated[
    Path | None, _option("Apply a calibration saved by 'kronos calibrate'.", metavar="FILE", panel=FORECAST_PANEL)
]
CalibrationMarket = Annotated[
    str | None,
    _option(
        "Market whose calibration to apply, such as crypto or us_equity.",
        default="inferred from the calendar",
        panel=FORECAST_PANEL,
    ),
]

# Model and device
Models = Annotated[
    list[str] | None,
    _option(
        "Zoo name, hub id or folder of a model; repeatable.",
        "--model",
        default=_BUNDLED,
        complete=complete_model,
        panel=MODEL_PANEL,
    ),
]
Model = Annotated[
    str | None,
    _option(
        "Zoo name, hub id or folder of the model (KRONOS_MODEL).",
        default=_BUNDLED,
        complete=complete_model,
        panel=MODEL_PANEL,
    ),
]
Tokenizer = Annotated[str | None, _option("Tokenizer to use.", default="the model's own", panel=MODEL_PANEL)]
Device = Annotated[
    str | None,
    _option("Device: cpu, cuda, cuda:1 or mps (KRONOS_DEVICE).", default="the fastest available", panel=MODEL_PANEL),
]
Precision = Annotated[
    PrecisionName | None,
    _option(
        "exact: float32; fast: bfloat16 where the hardware supports it well (KRONOS_PRECISION).",
        default="exact",
        panel=MODEL_PANEL,
    ),
]
Threads = Annotated[int | None, _option("CPU threads to use (KRONOS_THREADS).", panel=MODEL_PANEL)]

# Training
Configs = Annotated[
    list[str], _argument("CONFIG", "Names or paths of configurations.", complete=complete_training_config)
]
TrainingConfig = Annotated[
    str | None,
    _option(
        "Name or path of a configuration; other options override it.",
        "--config",
        "-c",
        default="finetune_csv",
        complete=complete_training_config,
        panel=DATA_PANEL,
    ),
]
TrainingData = Annotated[
    str | None,
    _option(
        "Candle file, folder of candle files, prepared dataset, or qlib:FOLDER:INSTRUMENTS.",
        "--data",
        default=_CONFIGURED,
        panel=DATA_PANEL,
    ),
]
TrainingSplits = Annotated[
    Path | None,
    _option(_SPLITS, "--splits", metavar="FILE", default=_CONFIGURED, panel=DATA_PANEL),
]
TrainingLookback = Annotated[
    int | None,
    _option("Candles of history per training window.", "--lookback", minimum=2, default=_CONFIGURED, panel=DATA_PANEL),
]
Predict = Annotated[
    int | None, _option("Candles to predict per training window.", minimum=1, default=_CONFIGURED, panel=DATA_PANEL)
]
Start = Annotated[
    str | None,
    _option(
        "Zoo name, hub id or folder of the initial weights.",
        default="the configuration's, kronos-nano",
        complete=complete_checkpoint,
        panel=MODEL_PANEL,
    ),
]
TrainingTokenizer = Annotated[
    str | None,
    _option(
        "Tokenizer to train the model with.",
        "--tokenizer",
        default="the model's own",
        complete=complete_checkpoint,
        panel=MODEL_PANEL,
    ),
]
FromScratch = Annotated[
    bool, _option("Use the architecture of --start with random weights.", "--from-scratch", panel=MODEL_PANEL)
]
Lora = Annotated[
    int | None, _option("Train low-rank adapters (LoRA) of this rank.", minimum=1, metavar="RANK", panel=MODEL_PANEL)
]
Stage = Annotated[Literal["tokenizer", "model", "all"], _option("Networks to train.", panel=TRAINING_PANEL)]
Epochs = Annotated[int | None, _option("Maximum number of epochs.", minimum=1, panel=TRAINING_PANEL)]
Steps = Annotated[int | None, _option("Optimizer steps per epoch.", minimum=1, panel=TRAINING_PANEL)]
Minutes = Annotated[float | None, _option("Time limit in minutes; the best weights are saved.", panel=TRAINING_PANEL)]
BatchSize = Annotated[
    int | None, _option("Windows per optimizer step, over all processes.", minimum=1, panel=TRAINING_PANEL)
]
LearningRate = Annotated[float | None, _option("Peak learning rate.", panel=TRAINING_PANEL)]
Patience = Annotated[
    int | None, _option("Epochs without improvement before training stops.", minimum=1, panel=TRAINING_PANEL)
]
TrainingSeed = Annotated[
    int | None, _option("Random seed of sampling, dropout and new weights.", "--seed", minimum=0, panel=TRAINING_PANEL)
]
TrainingPrecision = Annotated[
    Literal["float32", "bfloat16", "auto"] | None,
    _option("auto: bfloat16 where the hardware supports it well.", "--precision", panel=TRAINING_PANEL),
]
Mode = Annotated[ModeName, _option("Train one model at a time, or several in parallel.", panel=TRAINING_PANEL)]
MaxWorkers = Annotated[
    int | None,
    _option("Maximum number of parallel processes.", minimum=1, default="one per core", panel=TRAINING_PANEL),
]
ModelsFolder = Annotated[
    Path | None,
    _option("Folder for trained models, one sub-folder each.", default="outputs/models", panel=OUTPUT_PANEL),
]
ModelName = Annotated[
    str | None,
    _option("Name of the trained model.", "--name", default="the data's, or the configuration's", panel=OUTPUT_PANEL),
]
Resume = Annotated[
    bool,
    _option("Continue an interrupted run, or discard it and start again.", "--resume/--restart", panel=OUTPUT_PANEL),
]
SkipExisting = Annotated[bool, _option("Skip finished work of an earlier run.", "--skip-existing", panel=OUTPUT_PANEL)]
Compare = Annotated[
    bool, _option("Compare with the initial weights on the test split.", "--compare/--no-compare", panel=OUTPUT_PANEL)
]
TensorBoard = Annotated[bool, _option("Write TensorBoard events.", "--tensorboard", panel=OUTPUT_PANEL)]
PipelineOrigins = Annotated[
    int, _option("Maximum number of evaluation origins.", "--max-origins", minimum=1, metavar="N", panel=FORECAST_PANEL)
]
PipelineSamples = Annotated[
    int, _option("Number of sample paths per evaluation forecast.", "--samples", minimum=2, panel=FORECAST_PANEL)
]

# Data commands
FetchSymbols = Annotated[list[str], _argument("SYMBOL", "Symbols in any common notation.")]
SimulatedSymbols = Annotated[list[str] | None, _argument("SYMBOL", "Names of the series.", default="BTC-USDT")]
Source = Annotated[str | None, _option(_SOURCES, default="binance")]
ConfiguredSource = Annotated[str | None, _option(_SOURCES, "--source", default=_CONFIGURED)]
AssistantSource = Annotated[str | None, _option(_SOURCES, "--source", metavar="SPEC", default="none: only files")]
FetchInterval = Annotated[str, _option("Candle interval, such as 5m, 1h or 1d.", "--interval", "-i")]
FetchRecords = Annotated[
    int | None,
    _option("Number of latest closed candles.", "--records", "-n", minimum=2, default="2000 without --start"),
]
SimulatedRecords = Annotated[int, _option("Candles per symbol.", "--records", "-n", minimum=2)]
FetchStart = Annotated[str | None, _option("First opening time, UTC.", "--start", metavar="TIME")]
FetchEnd = Annotated[str | None, _option("End of the opening times, UTC, exclusive.", "--end", metavar="TIME")]
FetchOutput = Annotated[
    Path | None, _option("A .csv, .parquet or .feather file, or a folder for one file per symbol.", "--output", "-o")
]
SimulatedOutput = Annotated[Path, _option("A folder, or a file whose name begins with simulated.", "--output", "-o")]
SimulatedMarket = Annotated[
    str, _option("Simulated market: crypto, ashare, us or fx.", "--market", complete=complete_simulated_market)
]
SimulationSeed = Annotated[int, _option("Random seed.", "--seed", minimum=0)]
StoreFolder = Annotated[
    Path | None, _option("Folder of downloaded candles (KRONOS_STORE_DIR).", "--store", default="data/candles")
]
DatasetConfigs = Annotated[
    list[str] | None,
    _option("Names or paths of configurations.", "--config", "-c", default=False, complete=complete_config),
]
ListConfigs = Annotated[bool, _option("List the bundled configurations and exit.", "--list-configs")]
Timeframes = Annotated[
    list[str] | None, _option("Intervals of every symbol, such as 4H 1D (KRONOS_TIMEFRAMES).", default=_CONFIGURED)
]
RecordsPerTimeframe = Annotated[
    int | None,
    _option("Number of latest closed candles per series (KRONOS_RECORDS_PER_TF).", minimum=2, default=_CONFIGURED),
]
DatasetsFolder = Annotated[
    Path | None,
    _option("Folder for datasets, one sub-folder each (KRONOS_OUTPUT_DIR).", default="data/kronos_datasets"),
]
ReplaceDataset = Annotated[bool, _option("Replace an existing dataset after the new one is complete.", "--force")]
DatasetFormats = Annotated[
    list[str] | None,
    _option(
        "parquet is always written; pkl adds pickles for scripts of the published system.",
        "--format",
        default="parquet",
    ),
]
StrictCheck = Annotated[
    bool, _option("Exit with status 1 on warnings or if no candles of a series remain.", "--strict")
]
MaxFindings = Annotated[
    int | None,
    _option(
        "Number of findings to show; reports list all.", "--findings", minimum=0, default="20, or all with --verbose"
    ),
]
CheckReport = Annotated[Path | None, _option("Report to write, with a section per file: .md or .json.", "--report")]

# Models and servers
CheckpointName = Annotated[str, _argument(None, "Zoo name in any case, or hub id.", complete=complete_checkpoint)]
ExportedModel = Annotated[str, _argument(None, "Zoo name, hub id or folder of a model.", complete=complete_model)]
ExportFormat = Annotated[Literal["onnx"], _option("Format of the files.", "--format", default="onnx")]
ExportFolder = Annotated[Path, _option("Folder to write; it must be new or empty.", "--output", "-o", metavar="DIR")]
WeightStorage = Annotated[
    Literal["float32", "float16", "int8"],
    _option("Numbers in which weights are stored; float16 is exact for kronos-nano.", "--weights"),
]
ForceDownload = Annotated[bool, _option("Download again, even if cached.", "--force")]
Host = Annotated[str | None, _option("Address to listen on; any but loopback needs API keys.", default="127.0.0.1")]
Port = Annotated[int | None, _option("Port to listen on (0: any free port).", default="5000")]
DataFolder = Annotated[
    Path | None,
    _option("Folder of candle files that clients may read.", "--data", metavar="FOLDER", default="data, if it exists"),
]
StateFolder = Annotated[
    Path | None, _option("Folder for uploads and saved results.", "--state", metavar="FOLDER", default="outputs/serve")
]
Reload = Annotated[bool, _option("Restart when the code changes.", "--reload")]
LogJson = Annotated[bool, _option("Log JSON lines, even to a terminal.", "--json")]
LogRequests = Annotated[bool, _option("Log every request.", "--verbose", "-v")]

# Output
Plot = Annotated[
    Path | None,
    _option("Figure to save (.png, .svg, .pdf), or a folder for one figure per series.", panel=OUTPUT_PANEL),
]
Theme = Annotated[ThemeName, _option("Theme of the figure.", panel=OUTPUT_PANEL)]
Palette = Annotated[PaletteName, _option("Colours of rising and falling candles.", panel=OUTPUT_PANEL)]
ForecastOutput = Annotated[
    Path | None,
    _option("Table to save (.parquet, .csv, .json; -: CSV on stdout), or all sample paths (.npz).", panel=OUTPUT_PANEL),
]
Format = Annotated[
    FormatName, _option("wide: mean and quantiles by step; long: every sample path.", "--format", panel=OUTPUT_PANEL)
]
Language = Annotated[Literal["en", "zh"], _option("Language of the report page.", panel=OUTPUT_PANEL)]
DryRun = Annotated[bool, _option("Show the plan and its problems, and exit.", "--dry-run", panel=OUTPUT_PANEL)]
Restart = Annotated[
    bool, _option("Discard the forecasts of an earlier run in the output folder.", "--restart", panel=OUTPUT_PANEL)
]
Json = Annotated[bool, _option("Print one JSON document and nothing else.", "--json", panel=OUTPUT_PANEL)]
Verbose = Annotated[bool, _option("Show more details.", "--verbose", "-v", panel=OUTPUT_PANEL)]
Quiet = Annotated[bool, _option("Print nothing but errors.", "--quiet", "-q", panel=OUTPUT_PANEL)]
