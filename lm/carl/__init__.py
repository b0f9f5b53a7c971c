"""CARL: coherence-aware rewards from a language model's own predictions, in the published and a corrected form.

Names are imported lazily, when they are first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
