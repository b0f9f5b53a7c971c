"""CARL: coherence-aware rewards from a language model's own predictions, as published and as they can be trusted.

A name is loaded from its module when it is first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
