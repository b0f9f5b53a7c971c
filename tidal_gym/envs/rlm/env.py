# ruff: noqa: E501 - the manual's tables
"""The scalar environment `TidalRLM-v0` on a random grammar, and its manual."""

from __future__ import annotations

from typing import Any

from lm.rlm.grammar import RandomGrammar
from tidal_gym.envs.env import TidalGatingEnv
from tidal_gym.envs.rlm.vector_env import TidalRLMVectorEnv
from tidal_gym.envs.signature import with_arguments_of


class TidalRLMEnv(TidalGatingEnv):
    """
    ## Description

    A small language model generates a sentence of the random grammar that it was trained on, token by token, and the
    agent sets the same three gates as in `TidalGating-v0`. The judge is the grammar itself: at each token the exact
    distribution P of the next token is known, and the reward is minus the KL divergence from the sampling distribution q
    to P. So the maximum return is known: it is 0, and is reached only if q equals P at every token.

    A sentence has T = 2^L tokens, the leaves of a binary tree of depth L with random root and random rules (the Random
    Language Model). The model has learned the rules imperfectly; an agent can gain as much return as the gates can
    correct the model's errors.

    ## Action space

    `Box(0, 1, (3,), float32)`: creativity (temperature), focus (attention bias) and stability (repetition penalty), as in
    [TidalGating-v0](tidal-gating.md#action-space). The action (0.5, 0, 0), `neutral_action`, is plain sampling.

    ## Observation space

    `Box(-inf, inf, (64,), float32)`, as in [TidalGating-v0](tidal-gating.md#observation-space). It contains features of
    the model's predictions, and nothing of the grammar. The token that begins a sentence is the first token of the text.

    ## Rewards

    | Term      | Weight | Formula                                                                                       |
    |-----------|--------|-----------------------------------------------------------------------------------------------|
    | agreement | 1      | −KL(q ‖ P) = −Σ q(x) (log q(x) − log P(x)) [nats], at most 0; P(x) = P(x given all tokens so far) under the grammar, at least 1e-12 |

    It is an exact sum over all tokens of q, so it does not depend on the drawn token. `info` contains it as
    `reward_agreement`, and the other entries of `TidalGating-v0`.

    ## Starting state

    Only the token that begins a sentence. The episode's generator, seeded by `reset(seed=...)`, draws one uniform number
    per token.

    ## Episode end

    1. Termination: the sentence has T tokens; or the token that begins and ends texts is drawn before, which almost never
       happens with a trained model.
    2. Truncation: `max_episode_steps` tokens have been drawn.

    ## Arguments

    | Parameter           | Type        | Default      | Description                                                         |
    |---------------------|-------------|--------------|---------------------------------------------------------------------|
    | `model`             | str         | `"rlm-tiny"` | bundled name, or the `model` folder of a run of `tidal rlm train` with `examples.task: next` |
    | `reward`            | str         | `"judge"`    | name of a registered reward                                         |
    | `reward_weights`    | dict or None | `None`      | weights of reward terms that differ from the defaults               |
    | `judge`             | str or None | `None`       | judge model; `None`: the grammar                                    |
    | `prompts`           | str         | `"train"`    | `"train"` or `"heldout"`, for evaluations; both are empty prompts   |
    | `max_episode_steps` | int or None | `None`       | maximum number of drawn tokens; `None`: the whole sentence          |

    `dtype`, `device`, `modulation`, `entropy_target` and `render_mode` are as in `TidalGating-v0`, except that the `dtype`
    `"auto"` is float32.

    ```python
    >>> import gymnasium, tidal_gym
    >>> env = gymnasium.make("TidalRLM-v0")
    >>> observation, info = env.reset(seed=7)
    >>> is_over, steps = False, 0
    >>> while not is_over:
    ...     observation, reward, is_over, truncated, info = env.step(env.unwrapped.neutral_action)
    ...     assert reward == info["reward_agreement"] <= 0
    ...     steps += 1
    >>> steps == env.unwrapped.grammar.sentence_length
    True

    ```

    ## Version history

    * v0: First release.
    """

    batch_class = TidalRLMVectorEnv
    default_episode_steps = None
    batch: TidalRLMVectorEnv

    @with_arguments_of(TidalRLMVectorEnv)  # type: ignore[arg-type]  # mypy: its ** might hold the first two
    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)

    @property
    def grammar(self) -> RandomGrammar:
        """Grammar of the sentences."""
        return self.batch.grammar
