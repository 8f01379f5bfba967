"""The live forecaster: a forecast after every candle, and a record of all of them that anybody can verify.

- `load_config` reads the configuration; `run_live` runs cycles (candles, forecast, record, page) until it is stopped.
- `Record` opens a record, `verify` recomputes its hash chain and scores, `TrackRecordData` says how good it has been.
- `export` and `backup` copy a record while it is written.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
