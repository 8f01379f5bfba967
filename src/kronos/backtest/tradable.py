"""`TradableMarket`: what a configuration's candles are for the engine and for the model.

Candles are read as files, folders and prepared datasets, or as one Qlib folder. The engine gets a panel of all bars
with membership and factors; the model gets the instruments whose days are forecast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from kronos.backtest.comparison import Benchmark
from kronos.backtest.config import ASHARE, BacktestConfig
from kronos.backtest.market import MarketPanel
from kronos.backtest.qlib_dataset import QlibDataset, read_qlib_dataset
from kronos.backtest.signals import SignalPlan, plan_signals
from kronos.backtest.universe import Universe, unknown_membership
from kronos.candles import ReadOptions
from kronos.datasets.readers import QLIB
from kronos.errors import DataError, ParameterError
from kronos.evaluation.instruments import load_instruments
from kronos.evaluation.origins import Instrument
from kronos.formatting import expand_user, join_names, plural
from kronos.intervals import Interval
from kronos.progress import ProgressCallback
from kronos.typing import FloatArray

if TYPE_CHECKING:
    from kronos.inference import KronosPredictor

_SAME_PRICE = 1e-6  # relative: prices are rounded differently
_ABSENT_SHARE = 0.1  # of the bars between an instrument's first and last, from which on its calendar is another one
_SPLITS = (1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 30, 40, 50, 100)  # usual ratios of splits, either way
_SPLIT_GAP, _SPLIT_DAY = 0.05, 0.2  # log distance of the gap from the ratio, and of the closes after from the open


@dataclass(frozen=True, eq=False)
class TradableMarket:
    """Candles for a backtest.

    Attributes:
        panel: All bars.
        instruments: The series to forecast.
        universe: Membership of an index by date; None if it is unknown.
        benchmark: Returns that excess returns are against; None for all instruments in equal weights.
        change: Change of the close by which the published mode judges limits [T, N]; None to compute it.
        warnings: What qualifies results.
        skipped: Name and problem of what could not be read.
        dataset: The prepared Qlib folder, if it is one.
    """

    panel: MarketPanel
    instruments: tuple[Instrument, ...]
    universe: Universe | None = None
    benchmark: Benchmark | None = None
    change: FloatArray | None = None
    warnings: tuple[str, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    dataset: QlibDataset | None = field(default=None, repr=False)

    @property
    def simulated(self) -> bool:
        """Whether any candles are simulated."""
        return any(instrument.candles.simulated for instrument in self.instruments)

    @property
    def markets(self) -> tuple[str, ...]:
        """The markets of the instruments, sorted."""
        return tuple(sorted({instrument.market for instrument in self.instruments}))


def load_market(
    config: BacktestConfig, *, reading: ReadOptions | None = None, progress: ProgressCallback | None = None
) -> TradableMarket:
    """Read the candles of a configuration.

    Args:
        config: The configuration.
        reading: How candle files are written; None infers it.
        progress: Called with the number of files read and their total.

    Raises:
        DataError: If nothing can be read.
        ParameterError: If intervals differ, or an instrument or path does not exist.
    """
    if config.is_qlib:
        return _qlib_market(config)
    data = config.data
    loaded = load_instruments(
        data.paths,
        market=data.market,
        interval=data.interval,
        select_interval=True,
        timezone=data.timezone,
        reading=reading,
        progress=progress,
    )
    universe = None if data.universe is None else Universe.read(data.universe)
    market = market_of_instruments(loaded.instruments, universe, benchmark=data.benchmark)
    others = loaded.other_intervals
    left_out = f"{len(others):,} series of other intervals than {data.interval} left out: {join_names(others)}."
    return TradableMarket(
        panel=market.panel,
        instruments=market.instruments,
        universe=universe,
        benchmark=market.benchmark,
        warnings=(*market.warnings, *([left_out] if others else [])),
        skipped=tuple(loaded.skipped),
    )


def market_of_instruments(
    instruments: Sequence[Instrument], universe: Universe | None = None, *, benchmark: str | None = None
) -> TradableMarket:
    """Put instruments on a panel.

    Args:
        instruments: Series of one interval.
        universe: Membership by date; None if it is unknown.
        benchmark: Name of the instrument that excess returns are against; it is not traded.

    Raises:
        ParameterError: If intervals differ, or there is no instrument of the benchmark's name.
        DataError: If no instrument is left.
    """
    intervals = sorted({one.candles.interval.normalized() for one in instruments}, key=lambda one: one.seconds)
    if len(intervals) > 1:
        found = join_names([str(interval) for interval in intervals], None)
        raise ParameterError(f"The candles have the intervals {found}: choose one with --interval (interval=).")
    traded = tuple(instrument for instrument in instruments if instrument.name != benchmark)
    if benchmark is not None and len(traded) == len(instruments):
        known = join_names([instrument.name for instrument in instruments])
        raise ParameterError(f"There is no instrument '{benchmark}' for the benchmark: choose among {known}.")
    if not traded:
        raise DataError("There is no instrument to trade besides the benchmark: give at least one.")
    spans = None if universe is None else universe.spans
    places = {one.name: one.market for one in traded}
    panel = MarketPanel.from_candles({one.name: one.candles for one in traded}, membership=spans, markets=places)
    names = [instrument.name for instrument in traded]
    several = [unknown_membership(names)] if len(names) > 1 else []
    warnings = several if universe is None else universe.warnings(panel.dates, names)
    warnings += [
        *_several_markets(places),
        *other_calendars(panel),
        *impossible_prices(panel),
    ]
    simulated = [one.name for one in traded if one.candles.simulated]
    if simulated:
        warnings = [_simulated(simulated, names), *warnings]
    index = next((one for one in instruments if one.name == benchmark), None)
    compared = None if index is None else Benchmark(index.name, benchmark_returns(index, panel.dates))
    return TradableMarket(panel, traded, universe, compared, warnings=tuple(warnings))


def impossible_prices(panel: MarketPanel) -> list[str]:
    """Warn of bars that open or close outside of their range: a trade at such a price is no trade."""
    low, high = panel.low * (1 - _SAME_PRICE), panel.high * (1 + _SAME_PRICE)
    outside = np.zeros(panel.close.shape, dtype=np.bool_)
    for price in (panel.open, panel.close):
        outside |= (price < low) | (price > high)
    if not outside.any():
        return []
    row, column = np.argwhere(outside)[0]
    return [
        f"{plural(int(outside.sum()), 'bar')} open or close outside of low to high, the first of "
        f"{panel.instruments[column]} at {panel.dates[row]}: trades at such prices are wrong; clean the candles first."
    ]


def split_like_steps(panel: MarketPanel, first: int = 0) -> list[str]:
    """Warn of prices that open at a usual ratio of a split to the close before, and stay there: unadjusted splits.

    Args:
        panel: The bars.
        first: Row from which on they matter: the first that a forecast reads.
    """
    before, after = panel.previous_close, np.vstack([panel.close[1:], panel.close[-1:]])
    earlier = np.vstack([before[:1], before[:-1]])
    gap = np.abs(np.log(panel.open / before))
    moves = (np.log(panel.close / panel.open), np.log(after / panel.open), np.log(before / earlier))
    stays = np.fmax.reduce(np.abs(moves)) < _SPLIT_DAY
    steps = np.zeros(gap.shape, dtype=np.bool_)
    for ratio in _SPLITS:
        steps |= np.abs(gap - np.log(ratio)) < _SPLIT_GAP
    steps[:first] = False
    found = np.argwhere((steps & stays).T)
    if not len(found):
        return []
    named = [
        f"{panel.instruments[column]} on {panel.dates[row]:%Y-%m-%d} "
        f"({panel.previous_close[row, column]:g} to {panel.open[row, column]:g})"
        for column, row in found.tolist()
    ]
    return [
        f"{plural(len(named), 'step')} in prices {'looks' if len(named) == 1 else 'look'} like a split that is not "
        f"adjusted for: {join_names(named, 5)}. A split is then traded as a gain or loss: adjust the candles."
    ]


def other_calendars(panel: MarketPanel) -> list[str]:
    """Warn of instruments without bars at many times at which others trade, such as shares beside coins on weekends."""
    missing = np.isnan(panel.close)
    rows = np.arange(len(panel))[:, None]
    first, last = np.argmin(missing, axis=0), len(panel) - 1 - np.argmin(missing[::-1], axis=0)
    missing &= (rows > first) & (rows < last)
    share = missing.sum(axis=0) / (last - first + 1)
    columns = np.flatnonzero(share > _ABSENT_SHARE)
    if not len(columns):
        return []
    first_day = panel.dates[int(np.argmax(missing[:, columns].any(axis=1)))]
    return [
        f"No candle of {join_names([panel.instruments[column] for column in columns])} at up to "
        f"{100 * share.max():.0f} % of the times at which others trade, the first on {first_day:%Y-%m-%d}: there, "
        f"holdings of them stay, nothing of them is bought, and orders for them are refused. Backtest instruments of "
        f"one calendar to trade every signal."
    ]


def _several_markets(places: Mapping[str, str]) -> list[str]:
    markets = sorted(set(places.values()))
    if len(markets) == 1:
        return []
    return [
        f"The instruments are of the markets {join_names(markets, None)}: each is traded by the rules and costs of its "
        f"own, and prices are added as if they were in one currency."
    ]


def benchmark_returns(instrument: Instrument, dates: pd.DatetimeIndex) -> pd.Series:
    """Returns of an instrument from each time to the next, at its latest closes; NaN before its bars and after them.

    Where it has bars between these times, such as those of a coin on weekends, the returns include them.

    Raises:
        DataError: If only one of both has a timezone.
    """
    close, times = instrument.candles.frame["close"], instrument.candles.index
    if (times.tz is None) != (dates.tz is None):
        raise DataError(
            f"{instrument.name}, the benchmark, has {times.tz or 'no timezone'} but the traded instruments have "
            f"{dates.tz or 'none'}: convert them to one."
        )
    if dates.tz is not None:
        times = times.tz_convert(dates.tz)
    known = close.set_axis(times).reindex(times.union(dates)).ffill().reindex(dates)
    return known.where(dates <= times[-1]).pct_change(fill_method=None)


def _qlib_market(config: BacktestConfig) -> TradableMarket:
    folder, index = qlib_folder(config.data.paths[0])
    signals, data = config.signals, config.data
    if data.universe is not None:
        raise ParameterError("A Qlib folder has its own list of members: leave out the universe.")
    if data.interval is not None and Interval.parse(data.interval).normalized() != Interval.parse("1d"):
        raise ParameterError(f"Invalid interval {data.interval}: a Qlib folder is read as daily bars.")
    dataset = read_qlib_dataset(
        folder,
        index,
        config.qlib_periods(),
        lookback=signals.lookback,
        predict=signals.horizon,
        benchmark=data.benchmark,
    )
    market = data.market or ASHARE
    instruments = tuple(Instrument(name, market, own) for name, own in dataset.candles(data.history).items())
    names = list(dataset.panel.instruments)
    panel = replace(dataset.panel, markets=(market,) * len(names))
    warnings = dataset.universe.warnings(panel.dates, names)
    if index == "all":
        warnings.append(unknown_membership(names))
    if dataset.simulated:
        warnings.insert(0, _simulated(names, names))
    returns, benchmark = dataset.benchmark_returns(), None
    if returns is not None and data.benchmark is not None:
        benchmark = Benchmark(data.benchmark, pd.Series(returns, index=dataset.panel.dates))
    elif data.benchmark is not None:
        warnings.append(f"The folder has no {data.benchmark}: excess returns are against equal weights of all members.")
    if dataset.left_out:
        count = plural(len(dataset.left_out), "instrument")
        warnings.append(f"{count} of {index} have too few complete rows and no signals: {_named(dataset.left_out)}.")
    return TradableMarket(
        panel=panel,
        instruments=instruments,
        universe=dataset.universe,
        benchmark=benchmark,
        change=dataset.change,
        warnings=tuple(warnings),
        dataset=dataset,
    )


def qlib_folder(path: str) -> tuple[Path, str]:
    """Folder and index of ``qlib:FOLDER`` or ``qlib:FOLDER:csi300``; without an index it is ``all``."""
    text = path[len(QLIB) :]
    if not text:
        raise ParameterError("The Qlib folder is missing: write qlib:FOLDER or qlib:FOLDER:csi300.")
    folder, colon, index = text.rpartition(":")
    if not colon or "/" in index or "\\" in index or expand_user(text).is_dir():
        return expand_user(text), "all"
    return expand_user(folder), index


def plan_market(config: BacktestConfig, market: TradableMarket, predictor: KronosPredictor) -> SignalPlan:
    """Plan the signals of a configuration: those that are traded in its period, else on all days new to the model.

    The signal of the first trading day comes from ``lag`` bars before it. With the published history of a Qlib folder,
    a day needs a whole horizon of rows after it, as in the published code.

    Raises:
        ParameterError: If the model may have been trained on a day, and such days are refused.
        DataError: If no day is left.
    """
    period = config.periods.backtest
    if period is None and config.is_qlib:
        period = config.qlib_periods().backtest
    start, end = None, None
    if period is not None:
        first = market.panel.rows(*period).start
        start, end = market.panel.dates[max(0, first - config.trading.lag)], period[1]
    return plan_signals(
        market.instruments,
        predictor,
        config.signals.settings(),
        start=start,
        end=end,
        universe=market.universe,
        seen=config.signals.seen,
        whole_horizon=config.is_qlib and config.data.history == "published",
    )


def _named(left_out: Mapping[str, str]) -> str:
    return join_names([f"{name} ({reason})" for name, reason in left_out.items()], 2)


def _simulated(simulated: Sequence[str], names: Sequence[str]) -> str:
    which = "All candles" if len(simulated) == len(names) else f"The candles of {join_names(simulated)}"
    return f"{which} are SIMULATED: results show nothing about real markets."


__all__ = ["TradableMarket", "load_market", "market_of_instruments", "plan_market", "qlib_folder"]
