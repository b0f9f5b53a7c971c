"""Which environment an agent is trained or evaluated in, as plain data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Annotated, Any, cast

from lm.checks import COUNT, SHARE, at_least, check_fields
from lm.errors import InvalidValueError
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
"""A reward: in files a registered one, as ``module:attribute`` comes from the command line or Python."""

_COST = InFiles("must be a registered cost where a file names it", _is_registered_cost)
_MODULATION = InFiles("must hold fields of the modulation", _is_modulation)
_DEVICE = InFiles("must be cpu, cuda or mps where a file names it", _is_device)


@dataclass(frozen=True)
class EnvConfig:
    """A registered environment, and its arguments that do not depend on who acts in it."""

    id: Annotated[str, one_of("TidalGating-v0", "TidalRLM-v0")] = "TidalGating-v0"
    """Name of the environment, as Gymnasium knows it: TidalGating-v0 or TidalRLM-v0."""
    model: BundledInFiles = "tidal-tiny"
    """Language model: a bundled name, a folder, or a hub id."""
    statistics: NotInFiles | None = None
    """File of the reference statistics; None: those in the model's folder."""
    prompts: Annotated[str, one_of("train", "heldout")] | list[str] = "train"
    """"train" or "heldout" (bundled openings), a text file with one prompt a line, or a list of prompts."""
    prompt_tokens: tuple[int, int] = (3, 10)
    """Fewest and most tokens of a prompt that an episode begins with."""
    modulation: Annotated[dict[str, Any], _MODULATION] | None = None
    """Fields of the modulation that differ from its defaults."""
    reward: RewardInFiles = "tidal"
    """Name of the reward."""
    reward_weights: dict[str, float] | None = None
    """Weights of the reward terms that differ from their defaults."""
    judge: BundledInFiles | None = None
    """Language model that judges, for rewards that ask one: a bundled name, a folder, or a hub id with the same
    vocabulary; None: for the reward `judge` the bundled tidal-judge, in TidalRLM-v0 the grammar."""
    entropy_target: float | None = None
    """Entropy that sampling should have [nats], above 0; None: the model's mean entropy on human text."""
    cost: Annotated[str, _COST] | None = None
    """Name of the cost in ``info["cost"]``, for learning under a constraint; None: there is none."""
    cost_bound: float | None = None
    """Bound that the cost is counted from, in [0, 1]; None: the cost's own."""
    max_episode_steps: int = 50
    """Length at which an episode is truncated [tokens], at least 1."""
    carl: CarlRewardConfig | None = None
    """How an episode's coherence is paid besides or in place of this reward; None: it is not."""
    dtype: Annotated[str, one_of("auto", "float32", "bfloat16", "float64")] = "auto"
    """Number format of the language model: "auto", "float32", "bfloat16" or "float64"."""
    device: Annotated[str, _DEVICE] = "cpu"
    """Device of the language model."""

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
        """The environment that a file describes, where it is not given otherwise.

        A file may name bundled models, openings, registered rewards and costs; all else that leads out of the file
        (other models, paths, ``module:attribute``) must be given.

        Args:
            content: what stands in the file, fields by name.
            given: fields that replace what stands there, which is then not looked at.

        Raises:
            InvalidValueError: a field is unknown, of another type, breaks a rule, or may not be chosen by a file.
        """
        if isinstance(content, Mapping):
            content = {name: value for name, value in content.items() if name not in given}
        return replace(checked(cls, content, "env"), **given)

    def make(
        self, num_envs: int, autoreset_mode: str = "SameStep", *, expected_reward: bool = False
    ) -> TidalGatingVectorEnv:
        """Vector env of `num_envs` rows, which by default start again within the step, as SB3 wants it.

        Args:
            num_envs: N.
            autoreset_mode: how episodes begin anew.
            expected_reward: whether ``info`` tells what the reward was expected to be before the draw.

        Raises:
            InvalidValueError: there is no such environment, or an argument breaks its rule.
        """
        import tidal_gym

        kinds = {"TidalGating-v0": "TidalGatingVectorEnv", "TidalRLM-v0": "TidalRLMVectorEnv"}
        if self.id not in kinds:
            raise InvalidValueError("env.id", f"must be one of {', '.join(kinds)}", self.id)
        arguments = {
            field.name: getattr(self, field.name) for field in fields(self) if field.name not in ("id", "carl")
        }
        env = getattr(tidal_gym, kinds[self.id])(
            num_envs, autoreset_mode=autoreset_mode, expected_reward=expected_reward, **arguments
        )
        if self.carl is None:
            return env
        from tidal_gym.wrappers.carl_reward import VectorCarlReward

        return cast("TidalGatingVectorEnv", VectorCarlReward(env, **vars(self.carl)))  # it offers what the env does
