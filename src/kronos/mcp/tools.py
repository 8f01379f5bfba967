"""The tools as assistants see them. The work is done in a thread, one call at a time.

- The docstrings and the descriptions of the arguments are what an assistant reads; they say what is not obvious.
- Progress goes out from the thread; the same callback notices that a call was cancelled, and ends the work by raising.
- pandas and torch load with the first call, so that the server answers at once.
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

from kronos.mcp.schemas import EvaluationResponse, FileList, ForecastResponse, ModelList
from kronos.progress import ProgressCallback

if TYPE_CHECKING:
    from kronos.mcp.context import ServerContext

_PAUSE = 0.2  # seconds between two notes of progress
_LONGEST = 1_000  # characters of a name

File = Annotated[
    str | None,
    Field(max_length=_LONGEST, description="A file of candles in the data folder, as list_candles names it."),
]
Symbol = Annotated[
    str | None,
    Field(max_length=_LONGEST, description="An instrument of the configured source, such as BTC/USDT; or give a file."),
]
Interval = Annotated[
    str | None,
    Field(
        max_length=20,
        description="A candle's length, such as 5m, 1h or 1d; a file's is inferred, a symbol's is 1h by default.",
    ),
]
Horizon = Annotated[
    int, Field(ge=1, description="Candles to forecast; together with the history at most the model's context.")
]
Model = Annotated[
    str | None, Field(max_length=_LONGEST, description="A name that list_models says is here; the default otherwise.")
]


class Tools:
    """What assistants can call."""

    def __init__(self, desk: ServerContext) -> None:
        """Offer what a desk has."""
        self._desk = desk
        self._turn = CapacityLimiter(1)

    async def list_models(self) -> Annotated[CallToolResult, ModelList]:
        """List the models: size, context, licence, how much history each needs, and which can be used now."""
        from kronos.mcp.forecast import format_models, list_models

        found = await to_thread.run_sync(list_models, self._desk)
        return _result(found, format_models(found))

    async def list_candles(self) -> Annotated[CallToolResult, FileList]:
        """List the files of candles that can be forecast and evaluated, and where the candles of symbols come from."""
        from kronos.mcp.forecast import format_candles, list_candles

        found = await to_thread.run_sync(list_candles, self._desk, limiter=self._turn)
        return _result(found, format_candles(found))

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
                description="Whether to correct the paths by what past forecasts got wrong; "
                "by default where a calibration ships with the model."
            ),
        ] = None,
        as_of: Annotated[
            str | None,
            Field(
                max_length=40,
                description="Replay: a past time, such as 2024-01-31 12:00, in the candles' own timezone. Later "
                "candles are hidden, then shown and scored beside simple baselines.",
            ),
        ] = None,
    ) -> Annotated[CallToolResult, ForecastResponse]:
        """Forecast the candles that may come next for one file or one symbol (give exactly one of them).

        The answer has, for every future candle, the median and the 50, 80 and 95 % band of the close, and for the last
        of them the probability of a close above the last known one, value at risk and expected shortfall. Bands matter
        more than the median: prices are hard to foresee. Tell people when the data are simulated, how old the last
        candle is, whether the forecast is raw or calibrated, and that it is no investment advice.
        """

        def work(progress: ProgressCallback) -> tuple[BaseModel, str]:
            from kronos.mcp.context import SeriesArgs
            from kronos.mcp.forecast import ForecastArgs, forecast
            from kronos.mcp.schemas import format_forecast

            series = SeriesArgs(file, symbol, interval)
            asked = ForecastArgs(series, horizon, samples, seed, model, calibrated, as_of)
            answer, made = forecast(self._desk, asked, progress)
            return answer, format_forecast(answer, made)

        return await self._in_turn(ctx, work)

    async def evaluate(
        self,
        ctx: Context[Any, Any],
        file: File = None,
        symbol: Symbol = None,
        horizon: Horizon = 24,
        interval: Interval = None,
        origins: Annotated[
            int, Field(ge=2, le=100, description="Past moments to forecast at, a horizon apart, the newest there are.")
        ] = 50,
        model: Model = None,
    ) -> Annotated[CallToolResult, EvaluationResponse]:
        """Measure how good a model's forecasts of one file or symbol were, at past moments, beside simple baselines.

        Takes up to a minute with the bundled model, longer with larger ones. The verdicts are worded by stated rules:
        repeat them as they are, "no evidence of an edge" and "too few dates" included, with the remark on how little
        was looked at and the warnings. Skill is measured against a random walk, whose price forecasts are hard to beat.
        """

        def work(progress: ProgressCallback) -> tuple[BaseModel, str]:
            from kronos.mcp.context import SeriesArgs
            from kronos.mcp.evaluate import EvaluateArgs, evaluate
            from kronos.mcp.schemas import format_evaluation

            answer = evaluate(
                self._desk, EvaluateArgs(SeriesArgs(file, symbol, interval), origins, horizon, model), progress
            )
            return answer, format_evaluation(answer)

        return await self._in_turn(ctx, work)

    async def _in_turn(
        self, ctx: Context[Any, Any], work: Callable[[ProgressCallback], tuple[BaseModel, str]]
    ) -> CallToolResult:
        """Do heavy work in a thread, after the work before it, and tell how far it is."""
        last = -math.inf
        await ctx.report_progress(0, message="Waiting for its turn, then reading and loading")

        def progress(done: int, total: int) -> None:
            nonlocal last
            from_thread.check_cancelled()  # raises once the call was cancelled, which ends the work
            now = time.monotonic()
            if done < total and now - last < _PAUSE:
                return
            last = now
            from_thread.run(ctx.report_progress, done, total, f"{100 * done // max(1, total)} % forecast")

        return _result(*await to_thread.run_sync(work, progress, limiter=self._turn))


def _result(answer: BaseModel, text: str) -> CallToolResult:
    """An answer in both forms."""
    return CallToolResult(
        content=[TextContent(type="text", text=text)], structured_content=answer.model_dump(mode="json")
    )
