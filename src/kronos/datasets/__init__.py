"""Training data: configuration, preparation, splits, storage, and the windows that networks learn from.

- `prepare` makes a dataset from a source; `open_dataset` opens it again.
- `open_training_data` opens anything a model can be trained on, `WindowDataset` makes its samples, and `batches`
  batches them; `check_leakage` verifies that no sample depends on its future.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
