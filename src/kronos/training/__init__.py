"""Training of tokenizers and models: objectives, training loop, checkpoints, callbacks, LoRA, comparisons."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
