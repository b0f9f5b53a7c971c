"""Episode limits: that of the running ``gymnasium.make`` call, and that of the model's context."""

from __future__ import annotations

import inspect

import gymnasium

from lm.errors import InvalidValueError

DEFAULT_EPISODE_STEPS = 50

ENTRY_POINT = "tidal_gym.envs.env:TidalGatingEnv"
RLM_ENTRY_POINT = "tidal_gym.envs.rlm.env:TidalRLMEnv"


def limit_of_enclosing_make() -> int | None:
    """The episode limit [steps] of the running ``gymnasium.make`` call, or None.

    ``make`` uses ``max_episode_steps`` for the TimeLimit wrapper that it adds afterwards, and does not pass it to the
    environment. But the constructor needs it: the observation contains the progress towards the limit, the KV caches
    are allocated for it, and a limit beyond the model's context must raise an error in ``make``.

    Returns None outside ``make``, and for ``max_episode_steps=-1`` (no TimeLimit).
    """
    # No public way in Gymnasium 1.4: `make` passes its limit to TimeLimit alone and writes None into the environment's
    # spec; and a wrapper of ours in the registered spec would be refused by `make_vec`.
    frame = inspect.currentframe()
    while frame is not None and frame.f_code is not gymnasium.make.__code__:
        frame = frame.f_back
    # An outer environment that constructs this one has a limit of its own, which does not apply here.
    if frame is None or frame.f_locals["env_spec"].entry_point not in (ENTRY_POINT, RLM_ENTRY_POINT):
        return None
    limit = frame.f_locals["max_episode_steps"]
    if limit is None:
        limit = frame.f_locals["env_spec"].max_episode_steps
    return None if limit == -1 else limit


def require_episode_fits(max_episode_steps: int, *, longest_prompt: int, context_length: int) -> int:
    """Capacity of a stream for one episode [tokens]: prompt, one token per step, and one spare token.

    The spare token is for a finished row that idles in the step of its reset (NEXT_STEP autoreset).

    Args:
        max_episode_steps: the episode limit [steps], one token each.
        longest_prompt: length of the longest possible prompt, special prefix included [tokens].
        context_length: context length of the model [tokens].

    Raises:
        InvalidValueError: the episode does not fit into the context.
    """
    capacity = longest_prompt + max_episode_steps + 1
    if capacity > context_length:
        raise InvalidValueError(
            "max_episode_steps",
            f"must be at most {context_length - longest_prompt - 1} for prompts of up to {longest_prompt} tokens and "
            f"a model that attends to {context_length} tokens",
            max_episode_steps,
            "Use shorter episodes, shorter prompts, or a model with a longer context.",
        )
    return capacity
