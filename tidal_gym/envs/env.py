# ruff: noqa: E501 - the manual's tables
"""The scalar environment `TidalGating-v0`, and its manual."""

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
from tidal_gym.envs.signature import with_arguments_of
from tidal_gym.envs.vector_env import TidalGatingVectorEnv


class TidalGatingEnv(gymnasium.Env[NDArray[np.float32], ArrayLike], MadeAgain):
    """
    ## Description

    A small language model generates a text, token by token. Before each token the agent observes 64 features of the
    generation and sets three gates: **creativity**, **focus** and **stability**. The reward favours text that is likely
    under the unmodified model, sampled at the entropy of human text, without repetition and with frequent bigrams.

    The same frozen model runs twice per token, each time with its own KV cache. The *neutral stream* has no gates. Its
    distribution p over the next token defines the observation and the reward, so that actions do not affect how their
    tokens are scored. The *gated stream* reads the newest token under the action; its modulated logits define the
    distribution q that the next token is drawn from. For a model without gates and `focus_strength` 0, the streams are
    equal, and one stream serves both.

    H is entropy in nats, H* the model's mean entropy on held-out human text, and C = log 100 nats. The *text* consists of
    the prompt and all drawn tokens. Special tokens that the tokenizer puts before a text are in the model's context, but
    not part of the text, so that the repetition penalty does not apply to the end-of-text token.

    ## Action space

    `Box(0, 1, (3,), float32)`. Invalid actions (NaN, out of range, wrong shape) raise `lm.errors.InvalidValueError`.

    | Num | Gate       | Effect at value g, with the default modulation                                             |
    |-----|------------|--------------------------------------------------------------------------------------------|
    | 0   | creativity | temperature 0.5 + g                                                                         |
    | 1   | focus      | attention bias −2 g (i − j)/max(i, 1) [nats] from query position i to key position j, gated stream |
    | 2   | stability  | repetition penalty 1 + 1.5 g on tokens of the text: logits above 0 divided, others multiplied |

    All three are also the gate signals of the model's `DynamicGate`s, if it has any. The next token is drawn from the 40
    most probable tokens. The action (0.5, 0, 0), `neutral_action`, is plain sampling from the model.

    ## Observation space

    `Box(-inf, inf, (64,), float32)`. It describes the state before the next token is drawn; p is the neutral
    distribution over the next token.

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
    | 9     | surprisal of the newest token under p, clipped at C; 0 without a previous token | / C, [0, 1]             |
    | 10–33 | final hidden state of the newest token, neutral stream: means of 24 near-equal chunks | the model's      |
    | 34–57 | standard deviations of these chunks                                            | the model's, from 0     |
    | 58    | steps taken / episode limit                                                    | [0, 1]                  |
    | 59    | tokens in the context / tokens that the model can attend to                    | (0, 1]                  |
    | 60    | previous creativity; 0.5 after a reset                                         | [0, 1]                  |
    | 61    | previous focus; 0 after a reset                                                | [0, 1]                  |
    | 62    | previous stability; 0 after a reset                                            | [0, 1]                  |
    | 63    | H(q) / H* − 1 of the q that the newest token was drawn from; 0 after a reset   | from −1                 |

    ## Rewards

    The reward for the drawn token x is the weighted sum of four terms:

    | Term       | Weight | Formula                                                                                      |
    |------------|--------|----------------------------------------------------------------------------------------------|
    | perplexity | 0.4    | −min(−log p(x), C)/C, in [−1, 0]                                                              |
    | diversity  | 0.3    | exp(−½((H(q) − H*)/(H*/2))²), in [0, 1]                                                       |
    | repetition | 0.2    | −min(1, r + 0.3 [x = newest]), in [−1, 0]; r = 0, .25, .5, .75 for 0 to 3 occurrences of x among the last 10 tokens, .05 more for each further one |
    | coherence  | 0.1    | (log P(x given newest) + log V)/log V clipped to [0, 1]; add-one smoothed bigrams of the training text |

    The reward `reward="judge"` has a single term, from a second language model that shares no weights with the first:

    | Term       | Weight | Formula                                                                                      |
    |------------|--------|----------------------------------------------------------------------------------------------|
    | agreement  | 1      | −KL(q ‖ P) = −Σ q(x) (log q(x) − log P(x)) [nats], at most 0; P(x) under the judge given the whole text, at least 1e-12 |

    It is an exact sum over all tokens of q, so it does not depend on the drawn token. The judge reads each token in a
    third stream, which costs one more forward pass per token.

    `info` contains the unweighted terms as `reward_perplexity`, `reward_diversity`, `reward_repetition` and
    `reward_coherence` (or `reward_agreement`), and `token` (id), `log_prob` (log p(x) [nats]), `entropy` (H(q) [nats]), `temperature` and
    `penalty`. The last step of an episode adds `token_ids`, all tokens of the episode with its prompt.

    ## Costs

    With `cost=...`, `info["cost"]` contains a cost per token, separate from the reward, for constrained RL. The mean over
    tokens satisfies the bound if and only if the mean sum of costs of an episode is at most 0.

    | Cost                 | Formula                                         | Bound, unless `cost_bound` is given               |
    |----------------------|-------------------------------------------------|---------------------------------------------------|
    | `diversity_floor`    | bound − diversity, in [bound − 1, bound]        | 0.55                                              |
    | `repetition_ceiling` | −repetition − bound, in [−bound, 1 − bound]     | 0.02                                              |

    ## Starting state

    The text begins with the first 3 to 10 tokens (uniform) of a random opening; a shorter opening is used completely. The
    episode's generator, seeded by `reset(seed=...)`, draws the opening, its length and one uniform number per token.

    ## Episode end

    1. Termination: the model's end-of-text token is drawn.
    2. Truncation: `max_episode_steps` tokens (50) have been drawn.

    ## Arguments

    | Parameter           | Type             | Default        | Description                                                  |
    |---------------------|------------------|----------------|--------------------------------------------------------------|
    | `model`             | str              | `"tidal-tiny"` | bundled name, folder or hub id of any causal LM of transformers at least 24 wide |
    | `statistics`        | str or None      | `None`         | file of reference statistics; `None`: the file in the model's folder |
    | `dtype`             | str              | `"auto"`       | `"float32"`, `"bfloat16"`, `"float64"`, or `"auto"`: bfloat16 if the device supports it natively, else float32 |
    | `device`            | str              | `"cpu"`        | torch device of the model                                    |
    | `prompts`           | str or list[str] | `"train"`      | `"train"`, `"heldout"`, a UTF-8 text file with one opening per line, or a list of openings |
    | `prompt_tokens`     | (int, int)       | `(3, 10)`      | minimum and maximum number of tokens of an opening to use    |
    | `modulation`        | dict or None     | `None`         | fields of `ModulationConfig` that differ from the defaults: `base_temperature`, `temperature_range`, `base_penalty`, `penalty_range`, `focus_strength`, `top_k`, `top_p` |
    | `reward`            | str              | `"tidal"`      | a registered reward (`tidal_gym.register_reward`), or `"module:attribute"` |
    | `reward_weights`    | dict or None     | `None`         | weights of reward terms that differ from the defaults        |
    | `judge`             | str or None      | `None`         | judge model with the same vocabulary; `None`: the bundled `tidal-judge` with `reward="judge"`, else no judge |
    | `entropy_target`    | float or None    | `None`         | target entropy [nats] of the diversity term; `None`: H*      |
    | `cost`              | str or None      | `None`         | `"diversity_floor"`, `"repetition_ceiling"`, or a cost registered with `tidal_gym.register_cost` |
    | `cost_bound`        | float or None    | `None`         | bound of the cost in [0, 1]; `None`: the default of the cost |
    | `expected_reward`   | bool             | `False`        | whether `info["expected_reward"]` contains the exact expectation of the reward over q |
    | `max_episode_steps` | int              | `50`           | maximum number of drawn tokens of an episode; prompt and episode must fit into the model's context |
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

    This class is a view of `TidalGatingVectorEnv` with a single row. In the vector environment all rows share each
    forward pass, so use it for training:

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
    """Class of the underlying vector environment."""
    default_episode_steps: int | None = DEFAULT_EPISODE_STEPS
    """Default episode limit; None: that of the vector environment."""

    @with_arguments_of(TidalGatingVectorEnv)
    def __init__(self, **arguments: Any) -> None:
        if arguments.get("max_episode_steps") is None:
            arguments["max_episode_steps"] = limit_of_enclosing_make() or self.default_episode_steps
        MadeAgain.__init__(self, **arguments)
        self.batch = self.batch_class(1, AutoresetMode.DISABLED, **arguments)
        """The underlying vector environment with a single row."""
        self.render_mode = self.batch.render_mode
        self.observation_space = self.batch.single_observation_space
        self.action_space = self.batch.single_action_space

    @property
    def bundle(self) -> Bundle:
        """The model with tokenizer and reference statistics."""
        return self.batch.bundle

    @property
    def neutral_action(self) -> NDArray[np.float32]:
        """(3,) the neutral action: plain sampling from the model."""
        return self.batch.neutral_action

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begins a new episode; returns the observation (64,) and an empty info.

        Raises:
            InvalidValueError: the seed is not an integer of at least 0, or `options` is not empty.
        """
        require_options(options, ())
        super().reset(seed=None if seed is None else require_integer("seed", seed, at_least(0)))
        self.batch.episodes.generators = [self.np_random]
        observations, _ = self.batch.reset()
        return observations[0], {}

    def step(self, action: ArrayLike) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Draws one token under the gates (3,).

        Raises:
            InvalidValueError: the action has a wrong shape, is not finite or out of range.
            gymnasium.error.ResetNeeded: there is no running episode.
        """
        gates = require_gates(action, (len(GATE_NAMES),), "action")
        observations, rewards, terminations, truncations, infos = self.batch.step(gates[None])
        return observations[0], float(rewards[0]), bool(terminations[0]), bool(truncations[0]), of_single_row(infos)

    def expected_rewards(self, actions: ArrayLike) -> NDArray[np.float64]:
        """(A,) exact expected reward of the next token for each action (A, 3) in the current state."""
        return self.batch.expected_rewards(actions)[0]

    def token_ids(self) -> list[int]:
        """Token ids of the current episode: special prefix, prompt and drawn tokens."""
        return self.batch.token_ids()[0]

    def text(self) -> str:
        """Text of the current episode, without special tokens."""
        return self.batch.texts()[0]

    def render(self) -> Any:
        """Renders the current episode: a string (`ansi`), an image (`rgb_array`), or None (`human`)."""
        pictures = self.batch.render()
        return None if pictures is None else pictures[0]

    def close(self) -> None:
        """Closes the renderer and restores the terminal."""
        self.batch.close()
