"""Predictors for other processes and machines, which compute the same forecasts and sign them alike.

Networks that were sent to another process do not know any more that their weights are those of a file, and on another
machine there may be no such file. So their names and hashes travel with them.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kronos.calibration import Calibration, calibrate_forecast
from kronos.forecasts import Forecast
from kronos.inference.devices import Precision
from kronos.inference.metadata import model_title, weights_info
from kronos.inference.predictor import KronosPredictor
from kronos.nn import Kronos, KronosTokenizer


@dataclass(eq=False)
class PortablePredictor:
    """A predictor that can be sent to other processes and machines, which build it once.

    Attributes:
        name: Name of the model.
        weights: Reference and hash of the weights of ``model`` and ``tokenizer``.
        model: The model; on the CPU while it travels.
        tokenizer: Its tokenizer, likewise.
        device: Type of the device: ``cpu``, ``cuda`` or ``mps``.
        max_context: Longest window of history and forecast.
        clip: Bound of the normalised candles.
        precision: ``exact`` or ``fast``.
        cuda_graphs: Whether a GPU with CUDA replays graphs.
    """

    name: str
    weights: Mapping[str, Mapping[str, Any]]
    model: Kronos
    tokenizer: KronosTokenizer
    device: str
    max_context: int
    clip: float
    precision: Precision
    cuda_graphs: bool = True
    _predictor: KronosPredictor | None = field(default=None, repr=False)

    @classmethod
    def of(cls, predictor: KronosPredictor) -> PortablePredictor:
        """Wrap a predictor; in this process, it stays the same object."""
        return cls(
            name=model_title(predictor.model),
            weights={"model": weights_info(predictor.model), "tokenizer": weights_info(predictor.tokenizer)},
            model=predictor.model,
            tokenizer=predictor.tokenizer,
            device=predictor.device.type,
            max_context=predictor.max_context,
            clip=predictor.clip,
            precision=predictor.precision,
            cuda_graphs=predictor.cuda_graphs,
            _predictor=predictor,
        )

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the packed networks; those of a GPU are copied to the CPU."""
        state = {**self.__dict__, "_predictor": None}
        if self.device != "cpu":
            state |= {name: copy.deepcopy(state[name]).cpu() for name in ("model", "tokenizer")}
        return state

    @property
    def gpu(self) -> bool:
        """Whether it uses a GPU that an engine has to provide."""
        return self.device == "cuda"

    @property
    def predictor(self) -> KronosPredictor:
        """The predictor, built at the first use on another machine or in another process."""
        if self._predictor is None:
            self._predictor = KronosPredictor(
                self.model,
                self.tokenizer,
                self.device,
                self.max_context,
                self.clip,
                precision=self.precision,
                cuda_graphs=self.cuda_graphs,
            )
        return self._predictor

    def sign(self, forecast: Forecast) -> Forecast:
        """Name the model and its weights in a forecast that the predictor has made."""
        metadata = replace(forecast.metadata.with_details(**self.weights), model=self.name)
        return replace(forecast, metadata=metadata)

    def calibrate(self, raw: Forecast, calibration: Calibration, *, market: str | None = None) -> Forecast:
        """Sign a raw forecast that the predictor has made, and correct it.

        Args:
            raw: The forecast.
            calibration: The correction, from `KronosPredictor.calibration_for` where the files of the model are.
            market: Group of the calibration's factors; None to infer it from the calendar.
        """
        return calibrate_forecast(self.sign(raw), calibration, market=market)
