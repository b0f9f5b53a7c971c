"""Language models for Tidal Gym: gated transformers, text data, pretraining, decoding and scoring.

Names are imported lazily: ``import lm`` imports neither torch nor transformers. The gated transformer is registered
with transformers' Auto classes, whichever of the two is imported first.
"""

import importlib
import os
import sys
from types import ModuleType

import lazy_loader
import wrapt

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def _use_one_thread() -> None:
    """Let torch compute in one thread: a forked child that waits for its parent's threads, which it lacks, hangs."""
    set_num_threads = getattr(sys.modules.get("torch"), "set_num_threads", None)
    if set_num_threads is not None:
        set_num_threads(1)


os.register_at_fork(after_in_child=_use_one_thread)


# Each module registers its class; they are imported when the Auto classes are, in which they are looked up.
@wrapt.when_imported("transformers.models.auto.configuration_auto")
def _register_config(_: ModuleType) -> None:
    importlib.import_module("lm.models.gated_transformer_config")


@wrapt.when_imported("transformers.models.auto.modeling_auto")
def _register_model(_: ModuleType) -> None:
    importlib.import_module("lm.models.gated_transformer")
