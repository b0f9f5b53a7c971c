"""Agents for Tidal Gym: Beta policies, PPO training, baselines, evaluation, and controllers for generation.

Nothing heavy is imported here; a name is loaded from its module when it is first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
