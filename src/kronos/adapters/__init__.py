"""The model behind the interfaces of other libraries, so that it can be compared with theirs.

- `KronosForecaster` is a forecaster of sktime; it needs the extra ``sktime``.
- `KronosModel` is a model of the benchmark fev; it needs the extra ``fev``.

Both forecast candles. What is no candle becomes one as `flat_candles` describes, and only where that is asked for or
documented.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
