from .fev import KronosModel as KronosModel
from .flat_series import FlatSeries as FlatSeries
from .flat_series import flat_candles as flat_candles
from .sktime import KronosForecaster as KronosForecaster
