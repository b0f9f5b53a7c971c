"""The CARL reward as a wrapper of the environment, scalar and vector: paid as it grows, or all at the end."""

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
from lm.runs.saved_state import joined
from lm.settings import settings_from
from tidal_gym.envs.env import TidalGatingEnv
from tidal_gym.envs.infos import masked, of_step
from tidal_gym.envs.reset_options import require_reset_mask
from tidal_gym.envs.vector_env import TidalGatingVectorEnv
from tidal_gym.wrappers.carl_config import CarlRewardConfig

INFO_KEY = "reward_carl"
"""Where ``info`` carries the payment, unweighted."""


class CarlReward(gymnasium.Wrapper, RecordConstructorArgs):
    """Pays an episode's coherence: the CARL reward of what was drawn, given the prompt.

    Tokens are scored with the neutral distribution that they could have been drawn from, Φ and probability, so that no
    action flatters its own score; novelty is judged within the episode and its prompt. ``info["reward_carl"]`` is what
    was paid, before `weight`.

    Args:
        env: a ``TidalGating-v0``, under any wrappers.
        mode, payment, weight, composite, weights: as in :class:`CarlRewardConfig`.

    Raises:
        InvalidValueError: another environment, or an argument that breaks its rule.
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
        """Draws one token, and pays for it."""
        self._account.look(self._base)
        observation, reward, terminated, truncated, info = self.env.step(action)
        token, log_prob = (np.array([info[name]]) for name in ("token", "log_prob"))
        with self._base.one_piece():
            payment = self._account.pay(token, log_prob, np.ones(1, np.bool_), np.array([terminated or truncated]))
        info[INFO_KEY] = float(payment[0])
        total = float(self._account.total(np.array([float(reward)]), payment)[0])
        return observation, total, terminated, truncated, info


class VectorCarlReward(VectorWrapper):
    """:class:`CarlReward` for the vector environment, with any autoreset mode.

    Args:
        env: the vector environment of ``TidalGating-v0``, under any vector wrappers.
        mode, payment, weight, composite, weights: as in :class:`CarlRewardConfig`.

    Raises:
        InvalidValueError: another environment, or an argument that breaks its rule.
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
        """Begins new episodes; arguments as for the environment."""
        is_first = not self._base.row_generators
        result = self.env.reset(seed=seed, options=options)
        rows = require_reset_mask(options, self.num_envs)
        self._account.begin(self._base, np.ones_like(rows) if is_first else rows)
        return result

    def step(self, actions: Any) -> tuple[Any, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Draws one token in every row, and pays for it."""
        return self._pay_for(lambda: self.env.step(actions))

    def step_with(self, processor: Any) -> tuple[Any, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Draws one token in every row with a logits processor, and pays for it."""
        return self._pay_for(lambda: cast(TidalGatingVectorEnv, self.env).step_with(processor))

    def _pay_for(self, step: Callable[[], Any]) -> tuple[Any, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        account = self._account
        account.look(self._base)
        observations, rewards, terminations, truncations, infos = step()
        is_over = terminations | truncations
        final = infos.get("final_info", {})
        has_stepped = infos["_token"] | final.get("_token", False)
        tokens, log_prob = (of_step(infos, name, is_over) for name in ("token", "log_prob"))
        with self._base.one_piece():
            payment = account.pay(tokens, log_prob, has_stepped, is_over)
            if self._base.autoreset_mode is AutoresetMode.SAME_STEP:
                infos |= masked({INFO_KEY: payment}, ~is_over)
                if final:
                    final |= masked({INFO_KEY: payment}, is_over)
                account.begin(self._base, is_over)
            else:
                infos |= masked({INFO_KEY: payment}, has_stepped)
                account.begin(self._base, ~has_stepped)  # begun anew in this step (NEXT_STEP)
        return observations, account.total(rewards, payment), terminations, truncations, infos

    def state(self) -> dict[str, Tensor]:
        """As the environment's own, and what the episodes have earned."""
        return joined(env=self._base.state(), account=self._account.state())

    def expected_rewards(self, actions: Any) -> NoReturn:
        """Not known: a token's CARL reward hangs on the whole episode.

        Raises:
            InvalidValueError: always.
        """
        rule = "must be None for the one-step oracle, which knows the environment's own reward only"
        raise InvalidValueError("carl", rule, self._account.config)

    def prospects(self, actions: Any) -> NoReturn:
        """Not known either, as for :meth:`expected_rewards`."""
        self.expected_rewards(actions)

    def __getattr__(self, name: str) -> Any:
        """What else the environment offers: its bundle, its texts, its limits."""
        if name.startswith("_") or name == "env":
            raise AttributeError(name)
        return getattr(self.env, name)


class _Account:
    """What N episodes have earned so far, and what of it has been paid."""

    def __init__(self, env: TidalGatingVectorEnv, config: CarlRewardConfig) -> None:
        # The environment itself is not kept: a copy by pickle makes its own, and would leave another one here.
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
        """Begins the rows (N,) that are True, which hold nothing but their prompts."""
        if rows.any():
            places = np.flatnonzero(rows)
            texts = env.token_ids()
            self._growing.begin(torch.from_numpy(places), [texts[row] for row in places])
            self._paid[rows] = 0.0

    def look(self, env: TidalGatingVectorEnv) -> None:
        """Keeps the entropies of the predictions, before a token is drawn from them."""
        if env.row_generators:
            self._entropy = torch.from_numpy(env.neutral_entropy())

    def pay(
        self,
        tokens: NDArray[np.int64],
        log_prob: NDArray[np.float64],
        has_stepped: NDArray[np.bool_],
        is_over: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        """(N,) what each row is paid, unweighted, for one more token; all arguments are (N,)."""
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
        """What has been earned and paid: the memory itself."""
        return self._growing.state() | {"paid": torch.from_numpy(self._paid)}

    def total(self, rewards: NDArray[Any], payment: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N,) the reward: the environment's, if it is kept, and the weighted payment."""
        weighted = self.config.weight * payment
        return weighted if self.config.mode == "replace" else rewards + weighted
