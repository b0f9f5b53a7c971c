"""Environment configuration as plain data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Annotated, Any, cast

from lm.checks import COUNT, SHARE, at_least, check_fields
from lm.passed_files import BundledInFiles, InFiles, NotInFiles, checked, one_of
from lm.settings import settings_from
from tidal_gym.wrappers.carl_config import CarlRewardConfig

if TYPE_CHECKING:
    from tidal_gym.envs.vector_env import TidalGatingVectorEnv


def _is_registered_reward(name: str) -> bool:
    import tidal_gym.rewards.judge  # noqa: F401 - registers the reward `judge`
    from tidal_gym.rewards.rewards import registered_rewards

    return name in registered_rewards()


def _is_registered_cost(name: str) -> bool:
    from tidal_gym.rewards.costs import registered_costs

    return name in registered_costs()


def _is_modulation(values: dict[str, Any]) -> bool:
    from tidal_gym.dynamics.modulation import ModulationConfig

    settings_from(ModulationConfig, "modulation", values)
    return True


def _is_device(name: str) -> bool:
    return re.fullmatch(r"cpu|mps|cuda(:\d{1,2})?", name) is not None


RewardInFiles = Annotated[str, InFiles("must be a registered reward where a file names it", _is_registered_reward)]
"""Name of a reward. Files may name registered rewards only; ``module:attribute`` is for command line and Python."""

_COST = InFiles("must be a registered cost where a file names it", _is_registered_cost)
_MODULATION = InFiles("must hold fields of the modulation", _is_modulation)
_DEVICE = InFiles("must be cpu, cuda or mps where a file names it", _is_device)

OWN_IDS = ("TidalGating-v0", "TidalRLM-v0")
"""Ids of this package's environments."""
_NOT_PASSED = ("id", "carl")


@dataclass(frozen=True)
class EnvConfig:
    """Configuration of an environment: id and arguments."""

    id: Annotated[str, one_of(*OWN_IDS)] = "TidalGating-v0"
    """Gymnasium id of the environment: TidalGating-v0, TidalRLM-v0, or another registered environment with Box actions
    (``module:Name-v0`` imports the module first), which receives the fields that differ from their defaults."""
    model: BundledInFiles = "tidal-tiny"
    """Language model: a bundled name, a folder, or a hub id."""
    statistics: NotInFiles | None = None
    """File of the model's reference statistics. None: the file in the model's folder."""
    prompts: Annotated[str, one_of("train", "heldout")] | list[str] = "train"
    """"train" or "heldout" (bundled openings), a text file with one prompt per line, or a list of prompts."""
    prompt_tokens: tuple[int, int] = (3, 10)
    """Minimum and maximum length of an episode's prompt [tokens]."""
    modulation: Annotated[dict[str, Any], _MODULATION] | None = None
    """Fields of `tidal_gym.ModulationConfig` that differ from their defaults."""
    reward: RewardInFiles = "tidal"
    """Name of the reward."""
    reward_weights: dict[str, float] | None = None
    """Weights of reward terms that differ from their defaults, by term."""
    judge: BundledInFiles | None = None
    """Judge model of the reward `judge`, with the vocabulary of `model`: a bundled name, a folder, or a hub id. None:
    the bundled tidal-judge; in TidalRLM-v0 the grammar."""
    entropy_target: float | None = None
    """Target of the sampling entropy [nats], above 0. None: the model's mean entropy on human text."""
    cost: Annotated[str, _COST] | None = None
    """Name of the cost in ``info["cost"]``, for constrained training. None: no cost."""
    cost_bound: float | None = None
    """Bound of the cost, in [0, 1]. None: the cost's default bound."""
    max_episode_steps: int = 50
    """Episode length at which an episode is truncated [tokens], at least 1."""
    carl: CarlRewardConfig | None = None
    """CARL reward, added to the reward or replacing it. None: no CARL reward."""
    dtype: Annotated[str, one_of("auto", "float32", "bfloat16", "float64")] = "auto"
    """Data type of the language model: "auto", "float32", "bfloat16" or "float64"."""
    device: Annotated[str, _DEVICE] = "cpu"
    """Device of the language model: "cpu", "mps", "cuda" or "cuda:N"."""

    def __post_init__(self) -> None:
        if self.carl is not None:
            object.__setattr__(self, "carl", settings_from(CarlRewardConfig, "carl", self.carl))  # JSON gives mappings
        check_fields(
            self,
            "env",
            prompt_tokens=COUNT,
            entropy_target=at_least(1e-3, 1e3),
            cost_bound=SHARE,
            max_episode_steps=COUNT,
        )

    @classmethod
    def from_file(cls, content: object, given: Mapping[str, Any]) -> EnvConfig:
        """Reads an environment configuration from the content of an untrusted file.

        A file may name bundled models, bundled openings, registered rewards and registered costs. Everything else that
        refers outside the file (other models, paths, ``module:attribute``) must be given.

        Args:
            content: fields by name, as in the file.
            given: fields that replace those of the file, which are then not checked.

        Raises:
            InvalidValueError: a field is unknown, has a wrong type, is out of range, or may not be set by a file.
        """
        if isinstance(content, Mapping):
            content = {name: value for name, value in content.items() if name not in given}
        return replace(checked(cls, content, "env"), **given)

    def make(
        self, num_envs: int, autoreset_mode: str = "SameStep", *, expected_reward: bool = False
    ) -> TidalGatingVectorEnv:
        """Makes a vector env; by default with the same-step autoreset that SB3 needs.

        Args:
            num_envs: number of rows N.
            autoreset_mode: Gymnasium autoreset mode.
            expected_reward: whether ``info`` contains the exact expectation of the reward before the draw.

        Raises:
            InvalidValueError: the id is not registered, or the environment does not take an argument.
        """
        from agents.episodes.registered_env import make_registered

        arguments = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in _NOT_PASSED}
        if self.id not in OWN_IDS:  # the environment has defaults of its own
            defaults = EnvConfig()
            arguments = {name: value for name, value in arguments.items() if value != getattr(defaults, name)}
        if expected_reward or self.id in OWN_IDS:
            arguments["expected_reward"] = expected_reward
        env = cast("TidalGatingVectorEnv", make_registered(self.id, num_envs, autoreset_mode, arguments))
        if self.carl is None:
            return env
        from tidal_gym.wrappers.carl_reward import VectorCarlReward

        return cast("TidalGatingVectorEnv", VectorCarlReward(env, **vars(self.carl)))  # it forwards the env's interface
