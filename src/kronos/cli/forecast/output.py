"""Results of ``kronos forecast``, and the files written from them: one table for all series, one figure for each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from kronos.atomic import atomic_path, write_text
from kronos.cli.console import print_text
from kronos.cli.forecast.command import ForecastArgs
from kronos.cli.options import FormatName
from kronos.forecasts import Forecast
from kronos.formatting import escape_formulas, to_json
from kronos.typing import FloatArray

if TYPE_CHECKING:
    from kronos.candles import Candles


@dataclass(frozen=True)
class SeriesResult:
    """The forecast of one series.

    Attributes:
        name: Name of the series, unique in the run.
        forecast: The forecast, calibrated if a calibration applies.
        actual: The candles after the history, in a replay; else None.
        raw: The forecast before calibration; None if ``forecast`` is not calibrated.
    """

    name: str
    forecast: Forecast
    actual: Candles | None
    raw: Forecast | None = None


@dataclass(frozen=True)
class ForecastRun:
    """All results of a run.

    Attributes:
        results: One per series.
        seconds: Time that forecasting took, without loading and writing.
        skipped: Name and problem of the series that cannot be used.
    """

    results: tuple[SeriesResult, ...]
    seconds: float
    skipped: tuple[tuple[str, str], ...] = ()


def write_files(run: ForecastRun, args: ForecastArgs) -> dict[str, list[Path]]:
    """Write the table and figures that the arguments name.

    Returns:
        The files by series; a common table is listed for every series.

    Raises:
        StorageError: If a file cannot be written.
    """
    names = [result.name for result in run.results]
    files: dict[str, list[Path]] = {name: [] for name in names}
    if args.prints_table:
        print_text(escape_formulas(to_frame(run, args.format)).to_csv(index=False, lineterminator="\n"))
    elif args.output is not None:
        for result, path in zip(run.results, table_paths(names, args.output), strict=True):
            files[result.name].append(path)
        _write_tables(run, args.output, args.format)
    if args.plot is not None:
        from kronos.plotting import plot_forecast

        for result, path in zip(run.results, figure_paths(names, args), strict=True):
            plot_forecast(result.forecast, path=path, actual=result.actual, theme=args.theme, palette=args.palette)
            files[result.name].append(path)
    return files


def document(run: ForecastRun, files: Mapping[str, list[Path]], format_: FormatName = "wide") -> dict[str, Any]:
    """Return the run as a JSON document."""
    from kronos import __version__

    return {
        "kronos": __version__,
        "seconds": round(run.seconds, 3),
        "forecasts": [_entry(result, files.get(result.name, []), format_) for result in run.results],
        "skipped": [{"name": name, "problem": problem} for name, problem in run.skipped],
    }


def to_frame(run: ForecastRun, format_: FormatName) -> pd.DataFrame:
    """Return one table of all series.

    Every row has its series, model, origin, and state (raw or calibrated), and whether the data is simulated; if any
    forecast is pooled with a baseline, also the model's weight at its step.
    """
    pooled = any(result.forecast.metadata.pooled for result in run.results)
    frames = []
    for result in run.results:
        forecast, metadata = result.forecast, result.forecast.metadata
        frame = forecast.to_frame(format_)
        frame = frame.reset_index() if format_ == "wide" else frame
        frame.insert(0, "unique_id", result.name)
        frame = frame.assign(
            as_of=forecast.start, model=metadata.name, simulated=forecast.simulated, state=metadata.state
        )
        frames.append(frame.assign(model_weight=_model_weights(forecast, len(frame))) if pooled else frame)
    joined = pd.concat(frames, ignore_index=True)
    joined.attrs["kronos"] = {result.name: result.forecast.metadata.to_dict() for result in run.results}
    return joined


def _model_weights(forecast: Forecast, rows: int) -> FloatArray:
    """Return the model's weight in the pool for each row; rows are steps, path by path; 1 if nothing is pooled."""
    pooled = forecast.metadata.pooled
    return np.resize(np.ones(forecast.horizon) if pooled is None else np.array(pooled[1]), rows)


def _entry(result: SeriesResult, files: list[Path], format_: FormatName) -> dict[str, Any]:
    forecast = result.forecast
    entry: dict[str, Any] = {"unique_id": result.name, **forecast.to_dict()}
    entry["findings"] = [
        {"severity": f.severity, "code": f.code, "count": f.count, "rows": list(f.rows), "message": f.message}
        for f in forecast.history.findings
    ]
    if result.actual is not None:
        from kronos.evaluation.replay import replay_to_dict, score_replay

        entry["replay"] = replay_to_dict(*score_replay(forecast, result.actual, result.raw))
    if format_ == "long":
        entry["paths"] = forecast.paths.tolist()  # [S, H, 6]
    entry["files"] = [str(path) for path in files]
    return entry


def _write_tables(run: ForecastRun, path: Path, format_: FormatName) -> None:
    """Write one table of all series, or one ``.npz`` file per series."""
    suffix = path.suffix.lower()
    if suffix == ".npz":
        for result, own in zip(run.results, table_paths([result.name for result in run.results], path), strict=True):
            result.forecast.save(own)
    elif suffix == ".json":
        write_text(path, to_json(document(run, {}, format_)) + "\n")
    else:
        frame = to_frame(run, format_)
        with atomic_path(path) as temporary:
            if suffix == ".csv":
                escape_formulas(frame).to_csv(temporary, index=False)
            else:
                frame.to_parquet(temporary, index=False)


def table_paths(names: Sequence[str], path: Path) -> list[Path]:
    """Return the file of each series: the table of all, or its own ``.npz`` file."""
    return _own_paths(names, path) if path.suffix.lower() == ".npz" else [path] * len(names)


def figure_paths(names: Sequence[str], args: ForecastArgs) -> list[Path]:
    """Return the figure of each series, if ``--plot`` is given."""
    if args.plot is None:
        return []
    if args.plots_into_folder:
        return [args.plot / f"{slug}.png" for slug in _slugs(names)]
    return _own_paths(names, args.plot)


def _own_paths(names: Sequence[str], path: Path) -> list[Path]:
    """Return one file per series: the path itself, or next to it with the series' name appended."""
    if len(names) == 1:
        return [path]
    return [path.with_name(f"{path.stem}-{slug}{path.suffix}") for slug in _slugs(names)]


def _slugs(names: Sequence[str]) -> list[str]:
    """Return file names that every file system accepts, distinct without regard to case."""
    slugs: list[str] = []
    taken: set[str] = set()
    for name in names:
        slug = re.sub(r"[^\w.+=@-]+", "-", name).strip("-.")[:80] or "series"
        candidate, number = slug, 1
        while candidate.lower() in taken:
            number += 1
            candidate = f"{slug}-{number}"
        taken.add(candidate.lower())
        slugs.append(candidate)
    return slugs
