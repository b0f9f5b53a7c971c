"""Language models for Tidal Gym: gated transformers, text data, pretraining, decoding and scoring.

Nothing heavy is imported here: ``import lm`` is free, torch and transformers come with the module that needs them.
"""

import os
import sys


def _use_one_thread() -> None:
    """Let torch compute in one thread: a forked child that waits for its parent's threads, which it lacks, hangs."""
    set_num_threads = getattr(sys.modules.get("torch"), "set_num_threads", None)
    if set_num_threads is not None:
        set_num_threads(1)


os.register_at_fork(after_in_child=_use_one_thread)
