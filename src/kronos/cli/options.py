"""Options that `kronos evaluate` and `kronos calibrate` share, each with its help; see `walking` for what they do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand

PrecisionName = Literal["exact", "fast"]


ThemeName = Literal["light", "dark"]


PaletteName = Literal["green-up", "red-up", "colour-blind"]


FormatName = Literal["wide", "long"]


PRESETS = (
    "default", "conservative", "aggressive", "published", "paper-price", "paper-volatility", "paper-synthetic",
)  # fmt: skip


def model_names(incomplete: str) -> list[str]:
    """Names that complete ``--model``."""
    from kronos.zoo import list_checkpoints

    return [one.name for one in list_checkpoints() if one.kind == "model" and one.name.startswith(incomplete.lower())]


def preset_names(incomplete: str) -> list[str]:
    """Names that complete ``--preset``."""
    return [name for name in PRESETS if name.startswith(incomplete)]


def baseline_names(incomplete: str) -> list[str]:
    """Names that complete ``--baseline``, ``--reference`` and ``--pool-with``."""
    from kronos.baselines import BASELINES

    return [name for name in BASELINES if name.startswith(incomplete)]


class MultiValueCommand(TyperCommand):
    """A command without arguments, whose repeatable options take all words up to the next option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat an option's name before each further value of it, and parse that."""
        return super().parse_args(ctx, spread(args, self._repeatable()))

    def _repeatable(self) -> set[str]:
        return {name for one in self.params if getattr(one, "multiple", False) for name in one.opts}


def spread(args: list[str], repeatable: set[str]) -> list[str]:
    """``["--a", "1", "2", "--b"]`` becomes ``["--a", "1", "--a", "2", "--b"]`` if ``--a`` is repeatable."""
    result: list[str] = []
    option, values = "", 0
    for arg in args:
        name, equals, _ = arg.partition("=")
        if arg.startswith("-") and arg != "-":
            option, values = (name if name in repeatable else ""), int(bool(equals))
            result.append(arg)
            continue
        if option and values:
            result.append(option)
        values += 1
        result.append(arg)
    return result


PartName = Literal["validation", "test"]

DATA, WALK, DRAW, MODEL, OUT = "Candles and dates", "Origins", "Forecasts", "Model and machine", "Output"


Paths = Annotated[
    list[str],
    typer.Argument(metavar="PATH", help="Candle files, folders of them, prepared datasets.", show_default=False),
]
Market = Annotated[
    str | None,
    typer.Option(
        help="Of all series; else the MANIFEST.csv's, the sub-folder's name, or guessed.", rich_help_panel=DATA
    ),
]
Interval = Annotated[
    str | None, typer.Option(help="A candle's length in all files; else inferred.", rich_help_panel=DATA)
]
Timezone = Annotated[
    str | None, typer.Option(help="Of the times in all files, such as Asia/Shanghai.", rich_help_panel=DATA)
]
Strict = Annotated[bool, typer.Option("--strict", help="End if a file cannot be read.", rich_help_panel=DATA)]
From = Annotated[
    str | None,
    typer.Option("--from", metavar="TIME", help="Forecast no candle before this time.", rich_help_panel=DATA),
]
To = Annotated[
    str | None,
    typer.Option("--to", metavar="TIME", help="Forecast no candle from this time on.", rich_help_panel=DATA),
]
Part = Annotated[
    PartName | None,
    typer.Option("--part", help="Which dates of the splits, or of prepared datasets.", rich_help_panel=DATA),
]
Splits = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Dates by market: market, validation_from, test_from.",
        show_default="splits.csv beside the candles",
        rich_help_panel=DATA,
    ),
]
Horizon = Annotated[int, typer.Option("--horizon", "-n", help="Candles to forecast.", rich_help_panel=WALK)]
Stride = Annotated[
    int | None,
    typer.Option(
        help="Candles from one origin to the next.",
        show_default="the horizon, so that none overlap",
        rich_help_panel=WALK,
    ),
]
Lookback = Annotated[
    int | None,
    typer.Option(
        help="Candles of history that a forecast sees.",
        show_default="as many as the model takes",
        rich_help_panel=WALK,
    ),
]
Most = Annotated[
    int | None,
    typer.Option(metavar="N", help="Origins of a market at an interval, at most, spread evenly.", rich_help_panel=WALK),
]
Model = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        help="Zoo name, hub id or folder; may be given again.",
        show_default="the bundled kronos-nano",
        autocompletion=model_names,
        rich_help_panel=MODEL,
    ),
]
OneModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="Zoo name, hub id or folder.",
        show_default="the bundled kronos-nano",
        autocompletion=model_names,
        rich_help_panel=MODEL,
    ),
]
Tokenizer = Annotated[str | None, typer.Option(help="Another tokenizer than the model's own.", rich_help_panel=MODEL)]
Device = Annotated[
    str | None,
    typer.Option(
        help="cpu, cuda, cuda:1 or mps (KRONOS_DEVICE).", show_default="the best there is", rich_help_panel=MODEL
    ),
]
Precision = Annotated[
    PrecisionName | None,
    typer.Option(
        help="fast is bfloat16 where the hardware gains (KRONOS_PRECISION).",
        show_default="exact",
        rich_help_panel=MODEL,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Processes that share the work; changes no result.",
        show_default="one a core, or KRONOS_THREADS; 1 on a GPU",
        rich_help_panel=MODEL,
    ),
]
Samples = Annotated[int, typer.Option(help="Paths of each forecast.", rich_help_panel=DRAW)]
Seed = Annotated[int, typer.Option(help="Of the draws.", rich_help_panel=DRAW)]
Preset = Annotated[
    str,
    typer.Option(help=f"How paths are drawn: {', '.join(PRESETS)}.", autocompletion=preset_names, rich_help_panel=DRAW),
]
Temperature = Annotated[float | None, typer.Option(help="Above 0; 1 is as learnt.", rich_help_panel=DRAW)]
TopP = Annotated[
    float | None, typer.Option(help="Keep that mass of tokens; below 1 bands get narrow.", rich_help_panel=DRAW)
]
TopK = Annotated[int | None, typer.Option(help="Keep that many tokens; 0 is off.", rich_help_panel=DRAW)]
Fresh = Annotated[
    bool,
    typer.Option("--fresh", help="Forget the forecasts that an earlier run has left there.", rich_help_panel=OUT),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.", rich_help_panel=OUT)]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show everything there is.", rich_help_panel=OUT)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.", rich_help_panel=OUT)]
