__version__: str

from .candles import Candles as Candles
from .candles import read_candles as read_candles
from .candles import split_long as split_long
from .forecasts import Forecast as Forecast
from .inference import KronosPredictor as KronosPredictor
from .inference import SamplingParams as SamplingParams
from .inference import auto_regressive_inference as auto_regressive_inference
from .inference import calc_time_stamps as calc_time_stamps
from .inference import get_model_class as get_model_class
from .inference import model_dict as model_dict
from .inference import register_model as register_model
from .inference import sample_from_logits as sample_from_logits
from .inference import top_k_top_p_filtering as top_k_top_p_filtering
from .intervals import Interval as Interval
from .nn import Kronos as Kronos
from .nn import KronosTokenizer as KronosTokenizer
