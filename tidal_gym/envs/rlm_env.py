# ruff: noqa: E501 - the manual's tables
"""The environment on a random grammar for a single episode, and its manual."""

from __future__ import annotations

from lm.rlm.grammar import RandomGrammar
from tidal_gym.envs.env import TidalGatingEnv
from tidal_gym.envs.rlm_vector_env import TidalRLMVectorEnv


class TidalRLMEnv(TidalGatingEnv):
    """
    ## Description

    A small language model writes a sentence of a random grammar that it was trained on, token by token, and the agent
    steers it by the same three gates as in `TidalGating-v0`. What is different is who judges: the grammar itself. At every
    token the exact distribution P of the true next token is known, and the reward is minus the divergence of the sampling
    distribution q from it. So this is a decoding environment whose best possible return is known: it is 0, and an agent
    reaches it only by sampling exactly as the grammar would go on.

    A sentence has T = 2^L tokens, the leaves of a binary tree of depth L whose root and whose rules are random (the Random
    Language Model). The model has learned them imperfectly: what an agent can gain is what is wrong with the model, as far
    as the gates can mend it.

    ## Action space

    `Box(0, 1, (3,), float32)`: creativity (temperature), focus (attention bias) and stability (repetition penalty), as in
    [TidalGating-v0](tidal-gating.md#action-space). The action (0.5, 0, 0), `neutral_action`, is plain sampling.

    ## Observation space

    `Box(-inf, inf, (64,), float32)`, as in [TidalGating-v0](tidal-gating.md#observation-space). The grammar is not in it:
    the agent sees what the model believes, and not whether it is right. The token that begins a sentence counts as the
    first token of the text.

    ## Rewards

    | Term      | Weight | Formula                                                                                       |
    |-----------|--------|-----------------------------------------------------------------------------------------------|
    | agreement | 1      | −KL(q ‖ P) = −Σ q(x) (log q(x) − log P(x)) [nats], at most 0; P(x) = P(x given all tokens so far) under the grammar, at least 1e-12 |

    It is summed over all tokens that q can draw, so it does not depend on which of them is drawn. `info` carries it as
    `reward_agreement`, besides the figures of `TidalGating-v0`.

    ## Starting state

    Nothing but the token that begins a sentence. The episode's generator, seeded by `reset(seed=...)`, draws one uniform
    number for each token.

    ## Episode end

    1. Termination: the sentence has its T tokens; or the model draws the token that begins and ends texts before that,
       which a trained model all but never does.
    2. Truncation: `max_episode_steps` tokens have been drawn.

    ## Arguments

    | Parameter           | Type        | Default      | Description                                                         |
    |---------------------|-------------|--------------|---------------------------------------------------------------------|
    | `model`             | str         | `"rlm-tiny"` | bundled name, or the `model` folder of a run of `tidal rlm train` with `examples.task: next` |
    | `reward`            | str         | `"judge"`    | or any registered reward                                            |
    | `reward_weights`    | dict or None | `None`      | weights of the reward's terms that differ                           |
    | `judge`             | str or None | `None`       | `None`: the grammar; or a language model that judges in its place   |
    | `prompts`           | str         | `"train"`    | `"train"` or `"heldout"`, for agents' evaluations; both begin with nothing |
    | `max_episode_steps` | int or None | `None`       | the whole sentence where it is not less                             |

    `dtype`, `device`, `modulation`, `entropy_target` and `render_mode` are as in `TidalGating-v0`, but that the `dtype`
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

    @property
    def grammar(self) -> RandomGrammar:
        """Whose sentences are written."""
        return self.batch.grammar
