"""Several forecasts side by side, small: the same price pane without volume."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from kronos.errors import ParameterError
from kronos.forecasts import Forecast
from kronos.plotting.chart import draw_price, dress, headline, label_times, save_figure
from kronos.plotting.scene import make_scene
from kronos.plotting.style import Palette, Theme, legible, make_style


def plot_many(
    forecasts: Sequence[Forecast],
    *,
    path: str | Path | None = None,
    columns: int = 2,
    theme: Theme = "light",
    palette: Palette = "green-up",
) -> Figure:
    """Draw several forecasts as a grid of small charts.

    Args:
        forecasts: What to draw, row by row.
        path: Where to save the picture; not saved if not given.
        columns: Charts in a row.
        theme: ``light`` or ``dark``.
        palette: ``green-up``, ``red-up`` or ``colour-blind``.

    Returns:
        A matplotlib figure of its own, which pyplot knows nothing of.

    Raises:
        ParameterError: If there is no forecast, ``columns`` is below 1, or an option is unknown.
    """
    if not forecasts or columns < 1:
        raise ParameterError("A grid needs at least one forecast and one column.")
    style = make_style(theme, palette)
    columns = min(columns, len(forecasts))
    rows = math.ceil(len(forecasts) / columns)
    figure = Figure(figsize=(7 * columns, 4 * rows), dpi=150, facecolor=style.ground, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(forecasts) :]:
        axes.remove()
    for axes, forecast in zip(grid, forecasts, strict=False):
        scene = make_scene(forecast)
        dress(axes, style)
        draw_price(axes, scene, style)
        label_times(axes, scene, style, most=5)
        simulated = " · SIMULATED" if forecast.simulated else ""
        title = f"{headline(forecast)} · {forecast.made.state} · {forecast.samples} paths{simulated}"
        axes.set_title(legible(title, style), loc="left", parse_math=False, **style.font(10, bold=True))
    if path is not None:
        save_figure(figure, Path(path))
    return figure
