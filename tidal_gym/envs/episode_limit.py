"""How long an episode may be: the limit that was asked for, and the limit that the model's context sets."""

from __future__ import annotations

import inspect

import gymnasium

from lm.errors import InvalidValueError

DEFAULT_EPISODE_STEPS = 50

ENTRY_POINT = "tidal_gym.envs.env:TidalGatingEnv"
RLM_ENTRY_POINT = "tidal_gym.envs.rlm_env:TidalRLMEnv"


def limit_of_enclosing_make() -> int | None:
    """The episode limit [steps] of the ``gymnasium.make`` call that is constructing an environment, or None.

    ``make`` keeps ``max_episode_steps`` for the TimeLimit wrapper that it adds afterwards and tells the environment
    nothing. This environment has to know when it is built: progress towards the limit is part of the observation, the
    KV caches are allocated for it, and a limit beyond the model's context is an error that belongs at ``make``. A
    wrapper of our own could pass the number down, but ``make_vec`` refuses a specification with additional wrappers.
    So the call that is under way is asked for its arguments.

    Returns None outside ``make``, and for ``max_episode_steps=-1`` (no TimeLimit).
    """
    frame = inspect.currentframe()
    while frame is not None and frame.f_code is not gymnasium.make.__code__:
        frame = frame.f_back
    # The limit of an environment of somebody else's, which has one of ours inside, is not ours.
    if frame is None or frame.f_locals["env_spec"].entry_point not in (ENTRY_POINT, RLM_ENTRY_POINT):
        return None
    limit = frame.f_locals["max_episode_steps"]
    if limit is None:
        limit = frame.f_locals["env_spec"].max_episode_steps
    return None if limit == -1 else limit


def require_episode_fits(max_episode_steps: int, *, longest_prompt: int, context_length: int) -> int:
    """The tokens that a stream must hold for one episode: the prompt, a token a step, and one to spare.

    The spare token is for a finished row that idles through the step in which it is reset (NEXT_STEP autoreset).

    Args:
        max_episode_steps: the episode limit [steps], one token each.
        longest_prompt: tokens of the longest prompt that can be drawn, special prefix included.
        context_length: tokens that the model can attend to.

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
            "Take shorter episodes, shorter prompts, or a model with a longer context.",
        )
    return capacity
