from .chart import plot_forecast as plot_forecast
from .chart import plot_many as plot_many
from .style import Palette as Palette
from .style import Theme as Theme
