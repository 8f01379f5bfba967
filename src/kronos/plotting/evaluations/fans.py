"""One past forecast beside what came: history, nested bands of the close, the median, the truth."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from kronos.forecasts import BANDS, sample_quantiles
from kronos.forecasts.statistics import band_levels
from kronos.plotting.evaluations.canvas import Array, Canvas, Series, label_times, make_canvas, nothing
from kronos.plotting.scales import format_price, price_decimals, tick_decimals
from kronos.plotting.style import Palette, Theme

_ALPHAS = {0.95: 0.14, 0.8: 0.18, 0.5: 0.26}


def plot_fan(
    history: pd.Series,
    paths: npt.ArrayLike,
    actual: pd.Series,
    series: Series,
    *,
    title: str,
    subtitle: str = "",
    theme: Theme = "light",
    palette: Palette = "green-up",
) -> Figure:
    """Draw a forecast of the close and what came of it.

    Args:
        history: Known closes by time; the last is what the forecast starts from. [N]
        paths: Sampled closes. [S, H]
        actual: The closes that came, by time; NaN where unknown. [H]
        series: Whose forecast it is.
        title: Instrument and date.
        subtitle: Such as the score.
        theme: ``light`` or ``dark``.
        palette: ``green-up``, ``red-up`` or ``colour-blind``.

    Raises:
        ParameterError: If theme or palette is unknown.
    """
    canvas = make_canvas(title, subtitle, height=240, left=12, right=58, bottom=38, theme=theme, palette=palette)
    closes = np.asarray(paths, dtype=np.float64)
    if not len(history) or not closes.size or not np.isfinite(closes).all():
        return nothing(canvas, "There is no forecast here.")
    axes, start = canvas.axes, float(history.iloc[-1])
    known, came = history.to_numpy(dtype=np.float64), actual.to_numpy(dtype=np.float64)
    steps = np.arange(closes.shape[1] + 1)
    axes.set_xlim(-len(known), steps[-1] + 0.5)
    axes.axvline(0, color=canvas.style.muted, linewidth=1.0, dashes=(2, 2), zorder=1.5)
    grown = np.column_stack([np.full(len(closes), start), closes])
    _draw_bands(canvas, steps, grown, series)
    axes.plot(np.arange(1 - len(known), 1), known, color=canvas.style.muted, linewidth=1.3, zorder=3)
    axes.plot(steps, np.r_[start, came], color=canvas.style.text, linewidth=1.9, zorder=4)
    finite = np.flatnonzero(np.isfinite(came))
    if finite.size:
        end = int(finite[-1])
        axes.plot([end + 1], [came[end]], marker="o", markersize=4.5, color=canvas.style.text, zorder=5, clip_on=False)
    _dress(canvas, history, actual, known)
    return canvas.finish()


def _draw_bands(canvas: Canvas, steps: npt.NDArray[np.int64], closes: Array, series: Series) -> None:
    """Nested bands, the widest first, and the median; of equal paths the line alone."""
    axes, color = canvas.axes, canvas.color(series)
    if not (closes == closes[0]).all():
        for level in sorted(BANDS, reverse=True):
            low, high = sample_quantiles(closes, band_levels(level))
            axes.fill_between(steps, low, high, color=color, alpha=_ALPHAS[level], linewidth=0, zorder=2)
    axes.plot(steps, np.median(closes, axis=0), color=color, linewidth=1.5, dashes=(4, 1.8), zorder=3.5)


def _dress(canvas: Canvas, history: pd.Series, actual: pd.Series, known: Array) -> None:
    """Prices on the right in the market's decimals, times below."""
    axes = canvas.axes
    axes.yaxis.tick_right()
    axes.tick_params(right=False)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
    needed = tick_decimals(np.asarray(axes.yaxis.get_major_locator()()), price_decimals(known))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda price, _: format_price(price, needed)))
    label_times(canvas, pd.DatetimeIndex(history.index.append(actual.index)), 1 - len(known))
