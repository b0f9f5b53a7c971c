"""Decoding streams: a model that reads N texts token by token with a KV cache."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
