"""The tools that assistants call; the work is done in a thread, one call at a time.

- Assistants read the descriptions of tools and arguments; they are not docstrings, which ``python -OO`` removes.
- The progress callback reports from the thread; it also notices that a call was cancelled, and raises.
- pandas and torch are imported by the first call, so that the server starts fast.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

from anyio import CapacityLimiter, from_thread, to_thread
from mcp.server.mcpserver import Context
from mcp.types import CallToolResult, TextContent
from pydantic import BaseModel, Field

from kronos.errors import ParameterError
from kronos.formatting import truncate
from kronos.mcp.responses import EvaluationResponse, FileList, ForecastResponse, ModelList
from kronos.progress import ProgressCallback

if TYPE_CHECKING:
    from kronos.mcp.context import ServerContext
    from kronos.sandbox import FileOptions

_REPORT_SECONDS = 0.2  # shortest time between two progress notifications
_MAX_NAME = 1_000  # characters

LIST_MODELS = "List the models: size, context, licence, required history, and which can be used now."
LIST_CANDLES = (
    "List the files of candles that can be forecast and evaluated, and the source of symbols. A long list comes in "
    "parts; the answer says how many files are left."
)
FORECAST = (
    "Forecast the next candles of one file or one symbol (give exactly one of them).\n\n"
    "The result has the median and the 50, 80 and 95 % bands of the close for every future candle, and for the last "
    "one the probability of a close above the last known one, value at risk and expected shortfall. Bands matter more "
    "than the median, because prices are hard to predict. Tell the user whether the data are simulated, how old the "
    "last candle is, whether the forecast is raw or calibrated, and that it is not investment advice."
)
EVALUATE = (
    "Measure the quality of a model's past forecasts of one file or symbol, compared with simple baselines.\n\n"
    "This takes up to a minute with the bundled model, longer with larger ones. The verdicts follow fixed rules: "
    'repeat them unchanged, including "no evidence of an edge" and "too few dates", together with the remark on the '
    "size of the evaluation and the warnings. Skill is relative to a random walk, whose price forecasts are hard to "
    "beat."
)

File = Annotated[
    str | None,
    Field(max_length=_MAX_NAME, description="A file of candles in the data folder, by its name in list_candles."),
]
Symbol = Annotated[
    str | None,
    Field(max_length=_MAX_NAME, description="A symbol of the configured source, such as BTC/USDT, instead of a file."),
]
Interval = Annotated[
    str | None,
    Field(
        max_length=20,
        description="Interval of the candles, such as 5m, 1h or 1d; inferred for files, 1h for symbols by default.",
    ),
]
Timezone = Annotated[
    str | None,
    Field(
        max_length=60,
        description="Timezone of a file's times, such as America/New_York, if the file does not say it.",
    ),
]
Calendar = Annotated[
    str | None,
    Field(max_length=60, description="Trading calendar of a file's candles, such as XNYS; detected by default."),
]
Columns = Annotated[
    list[str] | None,
    Field(
        max_length=20,
        description="Names of a file's columns that were not recognised, such as close=Schlusskurs; one item each.",
    ),
]
Decimal = Annotated[
    str | None, Field(max_length=1, description="Decimal sign of a file's numbers, . or , ; inferred by default.")
]
Thousands = Annotated[
    str | None,
    Field(max_length=4, description="Thousands sign of a file's numbers, such as , or . ; none if they have none."),
]
DateFormat = Annotated[
    str | None,
    Field(max_length=60, description="Notation of a file's times for strptime, such as %d.%m.%Y %H:%M."),
]
Header = Annotated[
    int | None,
    Field(
        ge=0, description="Number of the line of a file with the names of its columns, from 1; 0 without such a line."
    ),
]
Horizon = Annotated[
    int, Field(ge=1, description="Candles to forecast; history and horizon together fit the model's context.")
]
Model = Annotated[
    str | None,
    Field(max_length=_MAX_NAME, description="A model that list_models marks as here; by default its default."),
]


class Tools:
    """The tools of a server."""

    def __init__(self, context: ServerContext) -> None:
        self._context = context
        self._limiter = CapacityLimiter(1)

    async def list_models(self) -> Annotated[CallToolResult, ModelList]:
        """Tool `LIST_MODELS`."""
        from kronos.mcp.forecast import list_models
        from kronos.mcp.responses import format_models

        models = await to_thread.run_sync(list_models, self._context)
        return _result(models, format_models(models))

    async def list_candles(
        self,
        offset: Annotated[int, Field(ge=0, description="Files to skip: the number already listed.")] = 0,
    ) -> Annotated[CallToolResult, FileList]:
        """Tool `LIST_CANDLES`."""
        from kronos.mcp.forecast import list_candles
        from kronos.mcp.responses import format_candles

        listing = await to_thread.run_sync(list_candles, self._context, offset, limiter=self._limiter)
        return _result(listing, format_candles(listing))

    async def forecast(
        self,
        ctx: Context[Any, Any],
        file: File = None,
        symbol: Symbol = None,
        horizon: Horizon = 24,
        interval: Interval = None,
        timezone: Timezone = None,
        calendar: Calendar = None,
        columns: Columns = None,
        decimal: Decimal = None,
        thousands: Thousands = None,
        date_format: DateFormat = None,
        header: Header = None,
        samples: Annotated[int, Field(ge=1, le=1_000, description="Paths to sample; few make bands rough.")] = 100,
        seed: Annotated[int, Field(ge=0, le=2**31 - 1, description="The same seed gives the same forecast.")] = 0,
        model: Model = None,
        calibrated: Annotated[
            bool | None,
            Field(
                description="Whether to calibrate the paths with the errors of past forecasts; by default if a "
                "calibration ships with the model."
            ),
        ] = None,
        as_of: Annotated[
            str | None,
            Field(
                max_length=40,
                description="Replay: a past time, such as 2024-01-31 12:00, in the candles' timezone. Later candles "
                "are hidden from the model, then shown, and scored against simple baselines.",
            ),
        ] = None,
    ) -> Annotated[CallToolResult, ForecastResponse]:
        """Tool `FORECAST`."""
        reading = _reading(
            columns, thousands, timezone=timezone, calendar=calendar, decimal=decimal, date_format=date_format,
            header=header,
        )  # fmt: skip

        def work(progress: ProgressCallback) -> tuple[BaseModel, str]:
            from kronos.mcp.context import SeriesArgs
            from kronos.mcp.forecast import ForecastToolArgs, forecast
            from kronos.mcp.responses import format_forecast

            series = SeriesArgs(file, symbol, interval, reading)
            args = ForecastToolArgs(series, horizon, samples, seed, model, calibrated, as_of)
            response, result = forecast(self._context, args, progress)
            return response, format_forecast(response, result)

        return await self._run(ctx, work)

    async def evaluate(
        self,
        ctx: Context[Any, Any],
        file: File = None,
        symbol: Symbol = None,
        horizon: Horizon = 24,
        interval: Interval = None,
        timezone: Timezone = None,
        calendar: Calendar = None,
        columns: Columns = None,
        decimal: Decimal = None,
        thousands: Thousands = None,
        date_format: DateFormat = None,
        header: Header = None,
        origins: Annotated[
            int, Field(ge=2, le=100, description="Number of past forecast origins: the newest, a horizon apart.")
        ] = 50,
        model: Model = None,
    ) -> Annotated[CallToolResult, EvaluationResponse]:
        """Tool `EVALUATE`."""
        reading = _reading(
            columns, thousands, timezone=timezone, calendar=calendar, decimal=decimal, date_format=date_format,
            header=header,
        )  # fmt: skip

        def work(progress: ProgressCallback) -> tuple[BaseModel, str]:
            from kronos.mcp.context import SeriesArgs
            from kronos.mcp.evaluate import EvaluateToolArgs, evaluate
            from kronos.mcp.responses import format_evaluation

            series = SeriesArgs(file, symbol, interval, reading)
            args = EvaluateToolArgs(series, origins, horizon, model)
            response = evaluate(self._context, args, progress)
            return response, format_evaluation(response)

        return await self._run(ctx, work)

    async def _run(
        self, ctx: Context[Any, Any], work: Callable[[ProgressCallback], tuple[BaseModel, str]]
    ) -> CallToolResult:
        """Run work in a thread after earlier calls, and report its progress."""
        last = -math.inf
        await ctx.report_progress(0, message="Waiting for other calls, then loading")

        def progress(done: int, total: int) -> None:
            nonlocal last
            from_thread.check_cancelled()  # raises if the call was cancelled
            now = time.monotonic()
            if done < total and now - last < _REPORT_SECONDS:
                return
            last = now
            from_thread.run(ctx.report_progress, done, total, f"{100 * done // max(1, total)} % forecast")

        return _result(*await to_thread.run_sync(work, progress, limiter=self._limiter))


def _reading(columns: list[str] | None, thousands: str | None, **others: Any) -> FileOptions:
    """Return what a call says about its file.

    Args:
        columns: Names of columns, such as ``close=Schlusskurs``.
        thousands: Thousands sign; ``none`` if there is none, since empty arguments are absent.
        others: Further options, as they are.

    Raises:
        ParameterError: If the name of a column has no ``=``.
    """
    from kronos.sandbox import FileOptions

    pairs = [text.partition("=") for text in columns or () if text.strip()]
    if unnamed := next((ours for ours, sign, theirs in pairs if not sign or not theirs.strip()), None):
        raise ParameterError(f"Invalid columns '{truncate(unnamed)}': write them like close=Schlusskurs.")
    named = tuple((ours.strip(), theirs.strip()) for ours, _, theirs in pairs)
    return FileOptions(columns=named, thousands="" if thousands == "none" else thousands, **others)


def _result(response: BaseModel, text: str) -> CallToolResult:
    return CallToolResult(
        content=[TextContent(type="text", text=text)], structured_content=response.model_dump(mode="json")
    )
