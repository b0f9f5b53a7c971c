"""Random grammars as data: sentences without end, and the best possible prediction of every token in them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
