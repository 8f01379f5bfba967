"""Files to download: forecasts and candles, with names that say what they hold."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

import pandas as pd
from fastapi import Response

from kronos.candles.candles import SIMULATED_PREFIX
from kronos.candles.io import write_candles
from kronos.formatting import escape_formulas
from kronos.sandbox import private_folder
from kronos.serve.workbench import actual_candles

if TYPE_CHECKING:
    from kronos.candles import Candles
    from kronos.forecasts import Forecast
    from kronos.intervals import Interval
    from kronos.serve.result_store import ResultStore

Format = Literal["csv", "parquet", "png", "json", "npz"]
_MEDIA_TYPES: dict[str, str] = {
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "png": "image/png",
    "json": "application/json",
    "npz": "application/octet-stream",
}
_MAX_SERIES = 60  # characters


def download(content: bytes, stem: str, suffix: str) -> Response:
    """Respond with a file.

    Args:
        content: Its bytes.
        stem: Its name without suffix; see `download_stem`.
        suffix: Its format.
    """
    plain = stem.encode("ascii", "ignore").decode().strip("-._") or "download"
    names = f"filename=\"{plain}.{suffix}\"; filename*=UTF-8''{quote(f'{stem}.{suffix}')}"
    return Response(content, media_type=_MEDIA_TYPES[suffix], headers={"Content-Disposition": f"attachment; {names}"})


def download_stem(series: str | None, interval: Interval, time: pd.Timestamp) -> str:
    """Name a file by its series, its interval, and the time of the last known candle, with safe characters only."""
    safe = re.sub(r"[^\w.-]+", "-", series or "").strip("-._")[:_MAX_SERIES] or "series"
    safe = safe.removesuffix(f"_{interval}")  # files are often named so already
    return f"{safe}_{interval}_{time:%Y-%m-%d}" + ("" if time == time.normalize() else f"_{time:%H%M}")


def export_result(results: ResultStore, result_id: str, kind: Format) -> Response:
    """Export a saved result: a table (csv, parquet), all paths (npz), a chart (png), or the document (json)."""
    forecast = results.forecast(result_id)
    stem = download_stem(forecast.symbol, forecast.interval, forecast.start)
    if kind == "json":
        return download(results.document(result_id), stem, kind)
    actual = actual_candles(results.document(result_id), forecast) if kind != "npz" else None
    if kind in ("csv", "parquet"):
        frame = forecast.to_frame()
        if actual is not None:
            frame = frame.join(actual.add_prefix("actual_"))
        if kind == "csv":
            return download(escape_formulas(frame).to_csv(lineterminator="\n").encode(), stem, kind)
        table = io.BytesIO()
        frame.to_parquet(table)
        return download(table.getvalue(), stem, kind)
    return download(_forecast_file(forecast, kind, actual), stem, kind)


def export_candles(candles: Candles, name: str, kind: Literal["csv", "parquet"]) -> Response:
    """Export candles as they were read and repaired; simulated ones have a name that marks them when they are read.

    Args:
        candles: The candles.
        name: Name of their series where they have no symbol.
        kind: Format.
    """
    stem = download_stem(candles.symbol or name, candles.interval, candles.end)
    if candles.simulated and not stem.lower().startswith(SIMULATED_PREFIX):
        stem = f"{SIMULATED_PREFIX}_{stem}"
    with private_folder() as folder:
        return download(write_candles(candles, folder / f"{SIMULATED_PREFIX}.{kind}").read_bytes(), stem, kind)


def _forecast_file(forecast: Forecast, kind: Format, actual: pd.DataFrame | None) -> bytes:
    with private_folder() as folder:
        target = folder / f"export.{kind}"
        if kind == "png":
            forecast.plot(path=target, actual=actual)
        else:
            forecast.save(target)
        return target.read_bytes()
