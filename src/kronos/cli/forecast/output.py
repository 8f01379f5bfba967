"""Files of a forecast: one table for all series, a picture for each; whole, or not at all."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kronos.atomic import atomic_path, write_text
from kronos.cli.console import dump_json
from kronos.cli.forecast.arguments import OutputArgs
from kronos.cli.options import FormatName
from kronos.forecasts import Forecast

if TYPE_CHECKING:
    from kronos.candles import Candles


def write(run: ForecastRun, showing: OutputArgs) -> dict[str, list[Path]]:
    """Write what was asked for.

    Returns:
        The files by series; the table's under every series' name.

    Raises:
        StorageError: If the file system refuses.
    """
    written: dict[str, list[Path]] = {result.name: [] for result in run.results}
    if showing.output is not None:
        for name, path in _write_tables(run, showing.output, showing.format).items():
            written[name].append(path)
    if showing.plot is not None:
        for result, path in zip(run.results, _targets(run, showing.plot, showing.plots_into_folder), strict=True):
            _draw(result, path, showing)
            written[result.name].append(path)
    return written


def document(run: ForecastRun, written: Mapping[str, list[Path]], format_: FormatName = "wide") -> dict[str, Any]:
    """Everything about a run, ready for JSON."""
    from kronos import __version__

    return {
        "kronos": __version__,
        "seconds": round(run.seconds, 3),
        "forecasts": [_entry(result, written.get(result.name, []), format_) for result in run.results],
    }


def table(run: ForecastRun, format_: FormatName) -> pd.DataFrame:
    """One table of all series.

    Every row says its series, model and origin, whether it is simulated, and raw or calibrated; where a forecast is
    pooled with a baseline, also the model's weight at its step.
    """
    pooled = any(result.forecast.metadata.pooled for result in run.results)
    frames = []
    for result in run.results:
        forecast = result.forecast
        frame = forecast.to_frame(format_)
        frame = frame.reset_index() if format_ == "wide" else frame
        frame.insert(0, "unique_id", result.name)
        name, simulated = forecast.metadata.name, forecast.simulated
        frame = frame.assign(as_of=forecast.start, model=name, simulated=simulated, state=forecast.metadata.state)
        frames.append(frame.assign(model_weight=_weights(forecast, len(frame))) if pooled else frame)
    joined = pd.concat(frames, ignore_index=True)
    joined.attrs["kronos"] = {result.name: result.forecast.metadata.to_dict() for result in run.results}
    return joined


def _weights(forecast: Forecast, rows: int) -> NDArray[np.float64]:
    """The model's weight at each row's step, path after path; 1 where nothing is pooled."""
    by_step = np.ones(forecast.horizon) if forecast.metadata.pooled is None else np.array(forecast.metadata.pooled[1])
    return np.resize(by_step, rows)


def _entry(result: SeriesResult, files: list[Path], format_: FormatName) -> dict[str, Any]:
    """One forecast's part of the document."""
    forecast, history = result.forecast, result.forecast.history
    entry: dict[str, Any] = {"unique_id": result.name, **forecast.to_dict()}
    entry["findings"] = [
        {"severity": f.severity, "code": f.code, "count": f.count, "rows": list(f.rows), "message": f.message}
        for f in history.findings
    ]
    if result.actual is not None:
        from kronos.evaluation.replay import as_dict, score_replay

        entry["replay"] = as_dict(*score_replay(forecast, result.actual, result.raw))
    if format_ == "long":
        entry["paths"] = forecast.paths.tolist()  # [S, H, 6]
    entry["files"] = [str(path) for path in files]
    return entry


def _write_tables(run: ForecastRun, path: Path, format_: FormatName) -> dict[str, Path]:
    """Write the table; ``.npz`` holds one forecast, so several get a file each."""
    ending = path.suffix.lower()
    if ending == ".npz":
        targets = _targets(run, path, folder=False)
        return {r.name: r.forecast.save(target) for r, target in zip(run.results, targets, strict=True)}
    if ending == ".json":
        write_text(path, dump_json(document(run, {}, format_)) + "\n")
    else:
        _write_frame(table(run, format_), path, ending)
    return {result.name: path for result in run.results}


def _write_frame(frame: pd.DataFrame, path: Path, ending: str) -> None:
    with atomic_path(path) as temporary:
        if ending == ".csv":
            frame.to_csv(temporary, index=False)
        else:
            frame.to_parquet(temporary, index=False)


def _targets(run: ForecastRun, path: Path, folder: bool) -> list[Path]:
    """A file for each series: the one named, or names made from the series'."""
    slugs = _slugs([result.name for result in run.results])
    if folder:
        return [path / f"{slug}.png" for slug in slugs]
    if len(slugs) == 1:
        return [path]
    return [path.with_name(f"{path.stem}-{slug}{path.suffix}") for slug in slugs]


def _slugs(names: list[str]) -> list[str]:
    """Names that any file system takes, distinct as the series' are."""
    slugs: list[str] = []
    for name in names:
        slug = re.sub(r"[^\w.+=@-]+", "-", name).strip("-.")[:80] or "series"
        number = 1
        candidate = slug
        while candidate.lower() in (taken.lower() for taken in slugs):
            number += 1
            candidate = f"{slug}-{number}"
        slugs.append(candidate)
    return slugs


def _draw(result: SeriesResult, path: Path, showing: OutputArgs) -> None:
    from kronos.plotting import plot_forecast

    plot_forecast(result.forecast, path=path, actual=result.actual, theme=showing.theme, palette=showing.palette)


@dataclass(frozen=True)
class SeriesResult:
    """One series' forecast.

    Attributes:
        name: Of the series, unique in this run.
        forecast: What may come.
        actual: What came, in a replay; else None.
        raw: The forecast as it was before a calibration; None if it is raw itself.
    """

    name: str
    forecast: Forecast
    actual: Candles | None
    raw: Forecast | None = None


@dataclass(frozen=True)
class ForecastRun:
    """All results, and what a reader wants to know about the run.

    Attributes:
        results: One a series.
        seconds: That forecasting took, without loading and drawing.
    """

    results: tuple[SeriesResult, ...]
    seconds: float
