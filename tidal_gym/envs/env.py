# ruff: noqa: E501 - the manual's tables
"""The environment for a single episode, and its manual."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import ArrayLike, NDArray

from lm.checks import at_least, require_integer
from lm.models.bundle import Bundle
from lm.models.gate_names import GATE_NAMES
from tidal_gym.dynamics.actions import require_gates
from tidal_gym.envs.episode_limit import DEFAULT_EPISODE_STEPS, limit_of_enclosing_make
from tidal_gym.envs.infos import of_single_row
from tidal_gym.envs.pickling import MadeAgain
from tidal_gym.envs.reset_options import require_options
from tidal_gym.envs.vector_env import TidalGatingVectorEnv


class TidalGatingEnv(gymnasium.Env[NDArray[np.float32], ArrayLike], MadeAgain):
    """
    ## Description

    A small language model writes a text, token by token, and the agent steers it. Before each token it sees 64 numbers
    about the generation so far and sets three gates: **creativity**, **focus** and **stability**. It is rewarded for text
    that the untouched model finds likely, sampled at the entropy of human text, without repeats and in familiar bigrams.

    The same frozen model runs twice a token, each time with its own KV cache. The *neutral stream* has no gates: its
    distribution p over the next token is what the agent observes and what the reward scores with, so that no action can
    flatter its own score. The *gated stream* reads the newest token under the action; its logits, modulated, are the
    distribution q that the next token is drawn from. In a model without gates, with `focus_strength` 0, one stream
    serves both.

    H is entropy in nats, H* the model's mean entropy on held-out human text, and C = log 100 nats. The *text* is the
    prompt and all drawn tokens; special tokens that the tokenizer puts before a text are in the model's context, but not
    part of the text, so that the repetition penalty does not keep a model from ending it.

    ## Action space

    `Box(0, 1, (3,), float32)`. Anything else (NaN, out of range, another shape) raises `lm.errors.InvalidValueError`.

    | Num | Gate       | Effect at value g, with the default modulation                                             |
    |-----|------------|--------------------------------------------------------------------------------------------|
    | 0   | creativity | temperature 0.5 + g                                                                         |
    | 1   | focus      | attention bias −2 g (i − j)/max(i, 1) [nats] from query place i to key place j, gated stream |
    | 2   | stability  | repetition penalty 1 + 1.5 g on tokens of the text: logits above 0 divided, others multiplied |

    All three are also the gate signals of the model's own `DynamicGate`s, if it has any. Then one of the 40 most
    probable tokens is drawn. The action (0.5, 0, 0), `neutral_action`, is plain sampling from the model.

    ## Observation space

    `Box(-inf, inf, (64,), float32)`. It describes the state before the token about to be drawn; p is the neutral
    distribution over that token.

    | Num   | Observation                                                                    | Unit, range             |
    |-------|--------------------------------------------------------------------------------|-------------------------|
    | 0     | H(p at temperature 0.5) / H* − 1                                               | from −1                 |
    | 1     | H(p) / H* − 1                                                                  | from −1                 |
    | 2     | H(p at temperature 1.5) / H* − 1                                               | from −1                 |
    | 3     | H(p under the strongest repetition penalty) / H* − 1                           | from −1                 |
    | 4     | largest probability of p                                                       | probability, (0, 1]     |
    | 5     | mass of p on the tokens of the text                                            | probability, [0, 1]     |
    | 6     | mass of p on the last 10 tokens of the text                                    | probability, [0, 1]     |
    | 7     | repetition ratio of the text: 1 − distinct tokens / tokens                     | [0, 1)                  |
    | 8     | distinct-2 of the text: distinct bigrams / bigrams; 1 for a single token       | (0, 1]                  |
    | 9     | surprisal of the newest token under p, clipped at C; 0 if nothing came before  | / C, [0, 1]             |
    | 10–33 | final hidden state of the newest token, neutral stream: means of 24 near-equal chunks | the model's      |
    | 34–57 | standard deviations of these chunks                                            | the model's, from 0     |
    | 58    | steps taken / episode limit                                                    | [0, 1]                  |
    | 59    | tokens in the context / tokens that the model can attend to                    | (0, 1]                  |
    | 60    | previous creativity; 0.5 after a reset                                         | [0, 1]                  |
    | 61    | previous focus; 0 after a reset                                                | [0, 1]                  |
    | 62    | previous stability; 0 after a reset                                            | [0, 1]                  |
    | 63    | H(q) / H* − 1 of the q that the newest token was drawn from; 0 after a reset   | from −1                 |

    ## Rewards

    For the drawn token x, the weighted sum of four terms:

    | Term       | Weight | Formula                                                                                      |
    |------------|--------|----------------------------------------------------------------------------------------------|
    | perplexity | 0.4    | −min(−log p(x), C)/C, in [−1, 0]                                                              |
    | diversity  | 0.3    | exp(−½((H(q) − H*)/(H*/2))²), in [0, 1]                                                       |
    | repetition | 0.2    | −min(1, r + 0.3 [x = newest]), in [−1, 0]; r = 0, .25, .5, .75 for 0 to 3 occurrences of x among the last 10 tokens, .05 more for each further one |
    | coherence  | 0.1    | (log P(x given newest) + log V)/log V clipped to [0, 1]; add-one smoothed bigrams of the training text |

    Another reward, `reward="judge"`, has a single term, from a second language model that shares no weights with the first:

    | Term       | Weight | Formula                                                                                      |
    |------------|--------|----------------------------------------------------------------------------------------------|
    | agreement  | 1      | −KL(q ‖ P) = −Σ q(x) (log q(x) − log P(x)) [nats], at most 0; P(x) under the judge given the whole text, at least 1e-12 |

    It is summed over all tokens that q can draw, so it is exact and does not depend on which of them is drawn. The judge
    reads along as a third stream: one more forward a token.

    `info` carries the terms, unweighted, as `reward_perplexity`, `reward_diversity`, `reward_repetition` and
    `reward_coherence` (or `reward_agreement`), besides `token` (id), `log_prob` (log p(x) [nats]), `entropy` (H(q) [nats]), `temperature` and
    `penalty`; the step that ends an episode adds `token_ids`, the whole episode with its prompt.

    ## Costs

    With `cost=...`, `info["cost"]` carries a number apart from the reward, for agents that learn under a constraint. A
    bound is kept in the mean over tokens exactly when the mean of an episode's summed costs is at most 0.

    | Cost                 | Formula                                         | Bound, unless `cost_bound` is given               |
    |----------------------|-------------------------------------------------|---------------------------------------------------|
    | `diversity_floor`    | bound − diversity, in [bound − 1, bound]        | 0.55                                              |
    | `repetition_ceiling` | −repetition − bound, in [−bound, 1 − bound]     | 0.02                                              |

    ## Starting state

    The text begins with the first 3 to 10 tokens (uniform) of a random opening; a shorter opening is used whole. The
    episode's generator, seeded by `reset(seed=...)`, draws opening, length and one uniform number for each token.

    ## Episode end

    1. Termination: the model's end-of-text token is drawn.
    2. Truncation: `max_episode_steps` tokens (50) have been drawn.

    ## Arguments

    | Parameter           | Type             | Default        | Description                                                  |
    |---------------------|------------------|----------------|--------------------------------------------------------------|
    | `model`             | str              | `"tidal-tiny"` | bundled name, folder or hub id of any causal LM of transformers at least 24 wide |
    | `statistics`        | str or None      | `None`         | file of reference statistics, if the model's folder has none |
    | `dtype`             | str              | `"auto"`       | `"float32"`, `"bfloat16"`, `"float64"`, or `"auto"`: bfloat16 where the device multiplies it natively, else float32 |
    | `device`            | str              | `"cpu"`        | where the model runs, as torch names it                      |
    | `prompts`           | str or list[str] | `"train"`      | `"train"`, `"heldout"`, a UTF-8 text file with an opening a line, or openings |
    | `prompt_tokens`     | (int, int)       | `(3, 10)`      | fewest and most tokens of an opening that are used           |
    | `modulation`        | dict or None     | `None`         | fields of `ModulationConfig` that differ: `base_temperature`, `temperature_range`, `base_penalty`, `penalty_range`, `focus_strength`, `top_k`, `top_p` |
    | `reward`            | str              | `"tidal"`      | a registered reward (`tidal_gym.register_reward`), or `"module:attribute"` |
    | `reward_weights`    | dict or None     | `None`         | weights of the reward's terms that differ                    |
    | `judge`             | str or None      | `None`         | model that judges, of the same vocabulary; `None`: with `reward="judge"` the bundled `tidal-judge`, else nobody |
    | `entropy_target`    | float or None    | `None`         | entropy [nats] in place of H* in the diversity term          |
    | `cost`              | str or None      | `None`         | `"diversity_floor"`, `"repetition_ceiling"`, or a cost of `tidal_gym.register_cost` |
    | `cost_bound`        | float or None    | `None`         | bound in [0, 1] in place of the cost's own                   |
    | `expected_reward`   | bool             | `False`        | whether `info["expected_reward"]` is the exact mean of the reward over the tokens that the action could have drawn |
    | `max_episode_steps` | int              | `50`           | tokens that an episode draws at most; it must fit into the model's context |
    | `render_mode`       | str or None      | `None`         | `"ansi"` (tokens coloured by gate), `"human"` (live in the terminal), `"rgb_array"` |

    ```python
    >>> import gymnasium, tidal_gym
    >>> env = gymnasium.make("TidalGating-v0", prompts=["The little boat sailed out to sea."])
    >>> observation, info = env.reset(seed=7)
    >>> observation.shape
    (64,)
    >>> observation, reward, terminated, truncated, info = env.step(env.unwrapped.neutral_action)
    >>> info["temperature"], info["penalty"]
    (1.0, 1.0)
    >>> sorted(name for name in info if name.startswith("reward"))
    ['reward_coherence', 'reward_diversity', 'reward_perplexity', 'reward_repetition']

    ```

    ## Vectorized environment

    One implementation serves both: this class is a view of `TidalGatingVectorEnv` with a single row. Many rows share each
    forward pass, so train on the batch:

    ```python
    >>> envs = gymnasium.make_vec("TidalGating-v0", num_envs=4, autoreset_mode="SameStep")
    >>> observations, infos = envs.reset(seed=7)
    >>> observations.shape
    (4, 64)

    ```

    ## Version history

    * v0: First release.
    """

    metadata: dict[str, Any] = TidalGatingVectorEnv.metadata
    batch_class: Callable[..., TidalGatingVectorEnv] = TidalGatingVectorEnv
    """What this environment is a view of."""
    default_episode_steps: int | None = DEFAULT_EPISODE_STEPS
    """Episode limit where none is given; None leaves it to the batch."""

    def __init__(
        self, *, max_episode_steps: int | None = None, render_mode: str | None = None, **settings: Any
    ) -> None:
        if max_episode_steps is None:
            max_episode_steps = limit_of_enclosing_make() or self.default_episode_steps
        MadeAgain.__init__(self, max_episode_steps=max_episode_steps, render_mode=render_mode, **settings)
        self.batch = self.batch_class(
            1,
            max_episode_steps=max_episode_steps,
            render_mode=render_mode,
            autoreset_mode=AutoresetMode.DISABLED,
            **settings,
        )
        """The environment that this one is the only row of."""
        self.render_mode = self.batch.render_mode
        self.observation_space = self.batch.single_observation_space
        self.action_space = self.batch.single_action_space

    @property
    def bundle(self) -> Bundle:
        """The model with its tokenizer and statistics."""
        return self.batch.bundle

    @property
    def neutral_action(self) -> NDArray[np.float32]:
        """(3,) the action that does nothing: plain sampling from the model."""
        return self.batch.neutral_action

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begins a new episode; returns the observation (64,) and an empty info.

        Raises:
            InvalidValueError: the seed is not an integer of at least 0, or there are options: it has none.
        """
        require_options(options, ())
        super().reset(seed=None if seed is None else require_integer("seed", seed, at_least(0)))
        self.batch.row_generators = [self.np_random]
        observations, _ = self.batch.reset()
        return observations[0], {}

    def step(self, action: ArrayLike) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Draws one token under the gates (3,).

        Raises:
            InvalidValueError: the action has a wrong shape, is not finite or out of range.
            gymnasium.error.ResetNeeded: the episode has not begun, or has ended.
        """
        gates = require_gates(action, (len(GATE_NAMES),), "action")
        observations, rewards, terminations, truncations, infos = self.batch.step(gates[None])
        return observations[0], float(rewards[0]), bool(terminations[0]), bool(truncations[0]), of_single_row(infos)

    def expected_rewards(self, actions: ArrayLike) -> NDArray[np.float64]:
        """(A,) the exact expected immediate reward of each action (A, 3) in the present state."""
        return self.batch.expected_rewards(actions)[0]

    def token_ids(self) -> list[int]:
        """The tokens of the present episode: prompt, special prefix included, and what was drawn."""
        return self.batch.token_ids()[0]

    def text(self) -> str:
        """The text of the present episode, without special tokens."""
        return self.batch.texts()[0]

    def render(self) -> Any:
        """A picture of the present episode: a string (`ansi`), an image (`rgb_array`), or None (`human`)."""
        pictures = self.batch.render()
        return None if pictures is None else pictures[0]

    def close(self) -> None:
        """Leaves the terminal in order."""
        self.batch.close()
