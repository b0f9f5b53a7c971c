"""Language models: the gated transformer, and bundles of a model, its tokenizer and its reference statistics."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
