"""Export of a model and its tokenizer to ONNX, and forecasts with the exported files; needs the extra ``onnx``.

- `export_onnx` writes four graphs, which read candles, decode tokens step by step and turn them into candles again, and
  a manifest, ``kronos.json``, with their hashes and everything that a program in another language has to know.
- `OnnxForecaster` runs the graphs in ONNX Runtime, with the random numbers and the sampling of `KronosPredictor`.
- `Manifest` reads a folder's manifest, and its files only if they are those that were exported.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
