"""Wrappers that add the CARL reward to the scalar and the vector environment."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NoReturn, cast

import gymnasium
import numpy as np
import torch
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from numpy.typing import NDArray
from torch import Tensor

from lm.carl.incremental import GrowingReward
from lm.errors import InvalidValueError
from lm.runs.tensors.saved_state import joined
from lm.settings import settings_from
from tidal_gym.envs.env import TidalGatingEnv
from tidal_gym.envs.infos import masked, of_step
from tidal_gym.envs.reset_options import require_reset_mask
from tidal_gym.envs.vector_env import TidalGatingVectorEnv
from tidal_gym.wrappers.carl_config import CarlRewardConfig

INFO_KEY = "reward_carl"
"""Key of ``info`` with the unweighted CARL reward."""


class CarlReward(gymnasium.Wrapper, RecordConstructorArgs):
    """Wrapper that adds the CARL reward: the coherence score of an episode's drawn tokens, given the prompt.

    Φ and token probabilities are those of the neutral distribution, so that actions do not affect how their tokens are
    scored. Novelty is relative to the episode and its prompt. ``info["reward_carl"]`` is the unweighted reward.

    Args:
        env: ``TidalGating-v0``, wrapped or not.
        mode, payment, weight, composite, weights: as in :class:`CarlRewardConfig`.

    Raises:
        InvalidValueError: the environment is another one, or an argument is invalid.
    """

    def __init__(self, env: Any, **settings: Any) -> None:
        if not isinstance(env.unwrapped, TidalGatingEnv):
            hint = "For a vector environment there is `VectorCarlReward`." if isinstance(env, VectorEnv) else ""
            raise InvalidValueError("env", "must be a TidalGating-v0", env, hint)
        RecordConstructorArgs.__init__(self, **settings)
        gymnasium.Wrapper.__init__(self, env)
        self._account = _Account(env.unwrapped.batch, settings_from(CarlRewardConfig, "settings", settings))

    @property
    def _base(self) -> TidalGatingVectorEnv:
        return cast(TidalGatingEnv, self.unwrapped).batch

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begins a new episode."""
        result = self.env.reset(seed=seed, options=options)
        self._account.begin(self._base, np.ones(1, np.bool_))
        return result

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Draws one token and adds the CARL reward."""
        self._account.look(self._base)
        observation, reward, terminated, truncated, info = self.env.step(action)
        token, log_prob = (np.array([info[name]]) for name in ("token", "log_prob"))
        with self._base.episodes.one_piece():
            payment = self._account.pay(token, log_prob, np.ones(1, np.bool_), np.array([terminated or truncated]))
        info[INFO_KEY] = float(payment[0])
        total = float(self._account.total(np.array([float(reward)]), payment)[0])
        return observation, total, terminated, truncated, info


class VectorCarlReward(VectorWrapper):
    """:class:`CarlReward` for the vector environment, with any autoreset mode.

    Args:
        env: vector environment of ``TidalGating-v0``, wrapped or not.
        mode, payment, weight, composite, weights: as in :class:`CarlRewardConfig`.

    Raises:
        InvalidValueError: the environment is another one, or an argument is invalid.
    """

    def __init__(self, env: Any, **settings: Any) -> None:
        if not isinstance(env.unwrapped, TidalGatingVectorEnv):
            hint = "For a scalar environment there is `CarlReward`." if isinstance(env, gymnasium.Env) else ""
            raise InvalidValueError("env", "must be the vector environment of TidalGating-v0", env, hint)
        super().__init__(env)
        self._account = _Account(env.unwrapped, settings_from(CarlRewardConfig, "settings", settings))

    @property
    def _base(self) -> TidalGatingVectorEnv:
        return cast(TidalGatingVectorEnv, self.unwrapped)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begins new episodes; arguments as in the environment."""
        is_first = not self._base.episodes.has_begun
        result = self.env.reset(seed=seed, options=options)
        rows = require_reset_mask(options, self.num_envs)
        self._account.begin(self._base, np.ones_like(rows) if is_first else rows)
        return result

    def step(self, actions: Any) -> tuple[Any, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Draws one token in each row and adds the CARL reward."""
        return self._pay_for(lambda: self.env.step(actions))

    def step_with(self, processor: Any) -> tuple[Any, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Draws one token in each row with a logits processor and adds the CARL reward."""
        return self._pay_for(lambda: cast(TidalGatingVectorEnv, self.env).step_with(processor))

    def _pay_for(self, step: Callable[[], Any]) -> tuple[Any, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        account = self._account
        account.look(self._base)
        observations, rewards, terminations, truncations, infos = step()
        is_over = terminations | truncations
        final = infos.get("final_info", {})
        has_stepped = infos["_token"] | final.get("_token", False)
        tokens, log_prob = (of_step(infos, name, is_over) for name in ("token", "log_prob"))
        with self._base.episodes.one_piece():
            payment = account.pay(tokens, log_prob, has_stepped, is_over)
            if self._base.autoreset_mode is AutoresetMode.SAME_STEP:
                infos |= masked({INFO_KEY: payment}, ~is_over)
                if final:
                    final |= masked({INFO_KEY: payment}, is_over)
                account.begin(self._base, is_over)
            else:
                infos |= masked({INFO_KEY: payment}, has_stepped)
                account.begin(self._base, ~has_stepped)  # reset in this step (NEXT_STEP)
        return observations, account.total(rewards, payment), terminations, truncations, infos

    def state(self) -> dict[str, Tensor]:
        """State of the environment and of the CARL scores."""
        return joined(env=self._base.state(), account=self._account.state())

    def expected_rewards(self, actions: Any) -> NoReturn:
        """Not supported: a token's CARL reward depends on the whole episode.

        Raises:
            InvalidValueError: always.
        """
        rule = "must be None for expected rewards, as of the one-step oracle"
        raise InvalidValueError("carl", rule, self._account.config)

    def prospects(self, actions: Any) -> NoReturn:
        """Not supported, as :meth:`expected_rewards`."""
        self.expected_rewards(actions)

    def __getattr__(self, name: str) -> Any:
        """Forwards other attributes to the environment."""
        if name.startswith("_") or name == "env":
            raise AttributeError(name)
        return getattr(self.env, name)


class _Account:
    """CARL scores of N episodes so far, and the rewards already given."""

    def __init__(self, env: TidalGatingVectorEnv, config: CarlRewardConfig) -> None:
        # No reference to the environment: a pickled copy makes its own.
        self.config = config
        self._log_vocab_size = math.log(env.bundle.vocab_size)
        self._growing = GrowingReward(
            env.num_envs,
            env.capacity,
            env.bundle.vocab_size,
            composite=config.composite,
            weights=config.weights,
        )
        self._entropy = torch.zeros(env.num_envs, dtype=torch.float64)
        self._paid = np.zeros(env.num_envs)

    def begin(self, env: TidalGatingVectorEnv, rows: NDArray[np.bool_]) -> None:
        """Starts the rows (N,) that are True, whose texts are their prompts."""
        if rows.any():
            places = np.flatnonzero(rows)
            texts = env.token_ids()
            self._growing.begin(torch.from_numpy(places), [texts[row] for row in places])
            self._paid[rows] = 0.0

    def look(self, env: TidalGatingVectorEnv) -> None:
        """Stores the entropies of the predictions before a token is drawn."""
        if env.episodes.has_begun:
            self._entropy = torch.from_numpy(env.neutral_entropy())

    def pay(
        self,
        tokens: NDArray[np.int64],
        log_prob: NDArray[np.float64],
        has_stepped: NDArray[np.bool_],
        is_over: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        """Unweighted CARL reward (N,) of one more token in each row; all arguments are (N,)."""
        rows = torch.from_numpy(np.flatnonzero(has_stepped))
        entropy = self._entropy[rows]
        self._growing.add(
            rows,
            1.0 - entropy / self._log_vocab_size,
            torch.from_numpy(log_prob)[rows],
            entropy,
            torch.from_numpy(tokens)[rows],
        )
        score = self._growing.reward().numpy()
        if self.config.payment == "end":
            return np.where(is_over, score, 0.0)
        payment = np.where(has_stepped, score - self._paid, 0.0)
        self._paid = np.where(has_stepped, score, self._paid)
        return payment

    def state(self) -> dict[str, Tensor]:
        """State of the scores and rewards: the tensors themselves, not copies."""
        return self._growing.state() | {"paid": torch.from_numpy(self._paid)}

    def total(self, rewards: NDArray[Any], payment: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N,) total reward: the environment's reward, unless it is replaced, plus the weighted CARL reward."""
        weighted = self.config.weight * payment
        return weighted if self.config.mode == "replace" else rewards + weighted
