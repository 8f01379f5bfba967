"""A model of the forecasting benchmark fev.

    import fev
    from kronos.adapters import KronosModel

    model = KronosModel()
    predictions = model.fit_predict(task)
    task.evaluation_summary(predictions, model_name=model.model_name, extra_info=model.treatment)

Where the targets and past covariates of a task have open, high, low and close, their rows are forecast as candles.
Every other target is forecast by itself as flat candles, see `kronos.adapters.flat_series`, and no covariates are
read. The model was trained on candles of markets: a low rank on other data is to be expected.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from kronos.adapters.flat_series import find_candle_columns, flat_candles
from kronos.candles import Candles
from kronos.errors import ParameterError
from kronos.forecasts import sample_quantiles
from kronos.inference import KronosPredictor, SamplingParams
from kronos.inference.metadata import model_title
from kronos.inference.predictor import CalibrationChoice
from kronos.preprocessing import as_candles
from kronos.typing import FloatArray
from kronos.zoo import DEFAULT_MODEL

try:
    import fev

    import datasets
except ImportError:
    raise ParameterError("KronosModel needs fev: install it with pip install 'kronos-forecast[fev]'.") from None

_CHUNK = 256  # series whose paths are in memory at once


class KronosModel(fev.ForecastingModel):  # type: ignore[misc]  # fev has no types
    """Forecasts tasks of fev: the median of the sample paths as predictions, and their quantiles.

    Args:
        model: Zoo name, hub id or folder of a model, or a predictor.
        samples: Number of sample paths per series.
        seed: Random seed; random numbers also depend on the names of the series.
        sampling: A preset or parameters, as for `kronos.KronosPredictor.forecast`.
        lookback: Maximum number of candles of history to use; all that fit by default.
        calibration: As for `kronos.KronosPredictor.forecast`.

    Attributes:
        model_name: Name of the model, such as ``kronos-nano``.
        treatment: What the forecasts of the last task were made from: numbers of forecasts from
            ``kronos_candles``, ``kronos_flat``, ``kronos_raised`` (flat, with a constant added) and ``kronos_gaps``
            (with values missing).
    """

    model_name = "kronos"
    trained_on_datasets: ClassVar[list[str]] = []  # none of fev's datasets; candles of markets, see the model card

    def __init__(
        self,
        model: str | Path | KronosPredictor = DEFAULT_MODEL,
        *,
        samples: int = 100,
        seed: int = 0,
        sampling: SamplingParams | str = "default",
        lookback: int | None = None,
        calibration: CalibrationChoice = None,
    ) -> None:
        super().__init__()
        self._predictor = model if isinstance(model, KronosPredictor) else KronosPredictor.from_pretrained(model)
        self._options: dict[str, Any] = {
            "samples": samples,
            "seed": seed,
            "sampling": sampling,
            "lookback": lookback,
            "calibration": calibration,
        }
        self.model_name = model_title(self._predictor.model)
        self.treatment: dict[str, int] = {}

    def _fit_predict(self, task: fev.Task) -> list[datasets.DatasetDict]:
        """Predictions of all windows: by target, one row per series with ``predictions`` and each level. [H] each.

        Raises:
            DataError: If a series cannot be forecast, such as one with too little history.
        """
        self.treatment = dict.fromkeys(("kronos_candles", "kronos_flat", "kronos_raised", "kronos_gaps"), 0)
        return [self._predict_window(window, task.quantile_levels) for window in task.iter_windows()]

    def _predict_window(self, window: fev.EvaluationWindow, levels: list[float]) -> datasets.DatasetDict:
        """Predictions of one window by target, `[N, H]` per column."""
        past, future = window.get_input_data()
        items = _items(window, past, future)
        rows: dict[str, list[FloatArray]] = {target: [] for target in window.target_columns}
        while chunk := list(islice(items, _CHUNK)):
            with self._record_inference_time():
                forecasts = self._predictor.forecast_many(
                    {item.name: item.candles for item in chunk},
                    window.horizon,
                    timestamps={item.name: item.times for item in chunk},
                    **self._options,
                )
            for item in chunk:
                self._count(item)
                for target, channel in item.channels.items():
                    paths = forecasts[item.name].channel(channel) - item.offset
                    rows[target].append(sample_quantiles(paths, [0.5, *levels]))
        names = ["predictions", *map(str, levels)]
        tables = {
            target: dict(zip(names, np.stack(values, axis=1), strict=True))  # [1 + levels, N, H]
            for target, values in rows.items()
        }
        return datasets.DatasetDict({target: datasets.Dataset.from_dict(table) for target, table in tables.items()})

    def _count(self, item: _Item) -> None:
        self.treatment["kronos_flat" if item.flat else "kronos_candles"] += 1
        self.treatment["kronos_raised"] += item.offset > 0
        self.treatment["kronos_gaps"] += item.dropped > 0


@dataclass(frozen=True, eq=False)
class _Item:
    """One history to forecast.

    Attributes:
        name: Name of the series, which random numbers depend on.
        candles: The history.
        times: Times of the forecast. [H]
        channels: The channel that is the forecast of a target, by target.
        flat: Whether the candles are flat.
        offset: To be subtracted from forecasts.
        dropped: Number of rows without a usable value.
    """

    name: str
    candles: Candles
    times: pd.DatetimeIndex
    channels: Mapping[str, str]
    flat: bool
    offset: float
    dropped: int


def _items(window: fev.EvaluationWindow, past: datasets.Dataset, future: datasets.Dataset) -> Iterator[_Item]:
    """The histories of a window: for every row its candles, if it has any, and each other target."""
    columns = find_candle_columns([*window.target_columns, *window.past_dynamic_columns], "The dataset")
    channels = {str(label): name for name, label in columns.items() if label in window.target_columns}
    numbers = [target for target in window.target_columns if target not in channels]
    exact = [table.with_format("arrow") for table in (past, future)]  # fev's own format rounds to float32
    for row, ahead in zip(*exact, strict=True):
        name = str(row.column(window.id_column)[0])
        history, times = (pd.DatetimeIndex(_array(part, window.timestamp_column)) for part in (row, ahead))
        if channels:
            yield _candle_item(name, row, history, times, columns, channels)
        for target in numbers:
            title = name if len(window.target_columns) == 1 else f"{name}/{target}"
            flat = flat_candles(_array(row, target), history, title)
            yield _Item(title, flat.candles, times, {target: "close"}, True, flat.offset, flat.dropped)


def _candle_item(
    name: str,
    row: pa.Table,
    history: pd.DatetimeIndex,
    times: pd.DatetimeIndex,
    columns: Mapping[str, Hashable],
    channels: Mapping[str, str],
) -> _Item:
    frame = pd.DataFrame({canonical: _array(row, str(label)) for canonical, label in columns.items()}, index=history)
    candles = as_candles(frame, name)
    return _Item(name, candles, times, channels, False, 0.0, len(frame) - len(candles))


def _array(row: pa.Table, column: str) -> NDArray[Any]:
    """The values of a series in a table of one row, with NaN for missing ones, `[T]`."""
    values: NDArray[Any] = row.column(column)[0].values.to_numpy(zero_copy_only=False)
    return values


__all__ = ["KronosModel"]
