"""Agents for Tidal Gym: Beta policies, PPO training, baselines, evaluation, and controllers for generation.

Names are imported lazily, when they are first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
