"""The tools that assistants call; the work is done in a thread, one call at a time.

- Assistants read the docstrings and argument descriptions.
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

from kronos.mcp.responses import EvaluationResponse, FileList, ForecastResponse, ModelList
from kronos.progress import ProgressCallback

if TYPE_CHECKING:
    from kronos.mcp.context import ServerContext

_REPORT_SECONDS = 0.2  # shortest time between two progress notifications
_MAX_NAME = 1_000  # characters

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
        """List the models: size, context, licence, required history, and which can be used now."""
        from kronos.mcp.forecast import list_models
        from kronos.mcp.responses import format_models

        models = await to_thread.run_sync(list_models, self._context)
        return _result(models, format_models(models))

    async def list_candles(self) -> Annotated[CallToolResult, FileList]:
        """List the files of candles that can be forecast and evaluated, and the source of symbols."""
        from kronos.mcp.forecast import list_candles
        from kronos.mcp.responses import format_candles

        listing = await to_thread.run_sync(list_candles, self._context, limiter=self._limiter)
        return _result(listing, format_candles(listing))

    async def forecast(
        self,
        ctx: Context[Any, Any],
        file: File = None,
        symbol: Symbol = None,
        horizon: Horizon = 24,
        interval: Interval = None,
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
        """Forecast the next candles of one file or one symbol (give exactly one of them).

        The result has the median and the 50, 80 and 95 % bands of the close for every future candle, and for the last
        one the probability of a close above the last known one, value at risk and expected shortfall. Bands matter more
        than the median, because prices are hard to predict. Tell the user whether the data are simulated, how old the
        last candle is, whether the forecast is raw or calibrated, and that it is not investment advice.
        """

        def work(progress: ProgressCallback) -> tuple[BaseModel, str]:
            from kronos.mcp.context import SeriesArgs
            from kronos.mcp.forecast import ForecastToolArgs, forecast
            from kronos.mcp.responses import format_forecast

            series = SeriesArgs(file, symbol, interval)
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
        origins: Annotated[
            int, Field(ge=2, le=100, description="Number of past forecast origins: the newest, a horizon apart.")
        ] = 50,
        model: Model = None,
    ) -> Annotated[CallToolResult, EvaluationResponse]:
        """Measure the quality of a model's past forecasts of one file or symbol, compared with simple baselines.

        This takes up to a minute with the bundled model, longer with larger ones. The verdicts follow fixed rules:
        repeat them unchanged, including "no evidence of an edge" and "too few dates", together with the remark on the
        size of the evaluation and the warnings. Skill is relative to a random walk, whose price forecasts are hard to
        beat.
        """

        def work(progress: ProgressCallback) -> tuple[BaseModel, str]:
            from kronos.mcp.context import SeriesArgs
            from kronos.mcp.evaluate import EvaluateToolArgs, evaluate
            from kronos.mcp.responses import format_evaluation

            args = EvaluateToolArgs(SeriesArgs(file, symbol, interval), origins, horizon, model)
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


def _result(response: BaseModel, text: str) -> CallToolResult:
    return CallToolResult(
        content=[TextContent(type="text", text=text)], structured_content=response.model_dump(mode="json")
    )
