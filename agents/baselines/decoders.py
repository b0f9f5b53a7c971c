"""Decoding methods as agents: logits processors sample the tokens, in the same episodes as for gates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

from agents.baselines.search_space import Range, settings_in
from agents.baselines.tuning_strategies import TPE, Strategy
from agents.episodes.agent import Agent, TokenStep
from lm.checks import TEMPERATURE, at_least, require_number
from lm.decoding.logits_processors import (
    AdapTLogitsProcessor,
    EDTLogitsProcessor,
    MirostatV2LogitsProcessor,
    TopNSigmaLogitsProcessor,
)
from lm.errors import InvalidValueError
from lm.models.gate_names import NEUTRAL_GATES

if TYPE_CHECKING:
    from tidal_gym.envs.vector_env import TidalGatingVectorEnv


@dataclass(frozen=True)
class DecoderFamily:
    """A decoding method and its tunable parameters."""

    name: str
    """Name on the command line and in tables."""
    space: Mapping[str, Range]
    """Search range and default of each parameter, by name."""
    make: Callable[[Mapping[str, Any]], list[LogitsProcessor]]
    """Makes the logits processors for given parameters, without the repetition penalty."""
    strategy: Strategy = field(default_factory=TPE)
    """Default search strategy of the tuner."""
    is_per_row: ClassVar[bool] = False
    """Whether rows of a vector env can have different settings; logits processors are those of all rows."""

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Pickled by name, since `make` cannot be pickled."""
        if DECODER_FAMILIES.get(self.name) is self:
            return _family_named, (self.name,)
        return type(self), (self.name, dict(self.space), self.make, self.strategy)

    def agent(self, /, **parameters: float) -> Decoder:
        """The method as an agent; omitted parameters have their defaults.

        Raises:
            InvalidValueError: a parameter is unknown, or a value is invalid.
        """
        return Decoder(self, **parameters)

    def agent_of_rows(self, settings: Sequence[Mapping[str, float]]) -> Decoder:
        """The method as an agent, with the first setting; all rows have the same."""
        return self.agent(**settings[0])

    def processors(self, /, **parameters: float) -> LogitsProcessorList:
        """New processors for ``model.generate(logits_processor=...)``, the repetition penalty first.

        Raises:
            InvalidValueError: as for :meth:`agent`.
        """
        settings = settings_in(self.space, parameters, self.name)
        try:
            strength = require_number("repetition_penalty", settings["repetition_penalty"], at_least(1e-3, 1e3))
            penalty = RepetitionPenaltyLogitsProcessor(strength)
            return LogitsProcessorList([penalty, *self.make(settings)])
        except InvalidValueError:
            raise
        except ValueError as error:  # transformers' own checks
            raise InvalidValueError(self.name, "must have parameters that it can use", settings, str(error)) from error


class Decoder(Agent):
    """Agent that samples tokens from logits modified by logits processors. The gates stay neutral.

    Prompts, random numbers, rewards and observations are the same as for agents that set gates. The environment's
    modulation (top-k, base temperature) does not apply.

    Args:
        family: decoding method.
        parameters: parameters that differ from the method's defaults.

    Raises:
        InvalidValueError: a parameter is unknown, or a value is invalid.
    """

    def __init__(self, family: DecoderFamily, /, **parameters: float) -> None:
        self.family = family
        self.parameters = settings_in(family.space, parameters, family.name)
        """All parameters by name."""
        self.name = family.name
        self._processors = family.processors(**self.parameters)

    def start(self, vector_env: VectorEnv, seed: int) -> None:
        """Starts with new processors, without state of other episodes."""
        self._processors = self.family.processors(**self.parameters)

    def step(self, vector_env: TidalGatingVectorEnv, observations: NDArray[np.float32]) -> TokenStep:
        """Samples a token in each row from the processed logits; the gates (N, 3) are neutral."""
        gates = np.tile(np.array(NEUTRAL_GATES, np.float32), (len(observations), 1))
        return TokenStep(gates, *vector_env.step_with(self._processors))

    def act(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """Not supported: a decoder samples from processed logits and sets no gates.

        Raises:
            TypeError: always.
        """
        raise TypeError(
            f"The decoder '{self.name}' sets no gates. In `generate` give it as "
            "`logits_processor=decoder.family.processors(**decoder.parameters)`."
        )


# Search ranges. Shared parameters have the same range in all methods, for a fair comparison. The gates reach
# temperatures of 0.5 to 1.5 and penalties of 1 to 2.5. Truncation is claimed to allow higher temperatures (min-p and
# top-nσ were published at up to 3); lower ones are nearly greedy.
_TEMPERATURE = Range(0.3, 3.0, default=1.0, is_log=True)
_PENALTY = Range(1.0, 2.5, default=1.0, step=0.025)  # steps, so that no penalty (1) is among the values


def _family(name: str, make: Callable[[Mapping[str, Any]], list[LogitsProcessor]], **space: Range) -> DecoderFamily:
    return DecoderFamily(name, {**space, "repetition_penalty": _PENALTY}, make)


def _tempered(*others: LogitsProcessor, at: Mapping[str, Any]) -> list[LogitsProcessor]:
    """Processors with the temperature first, as in transformers."""
    return [TemperatureLogitsWarper(require_number("temperature", at["temperature"], TEMPERATURE)), *others]


_ALL = (
    _family("temperature", lambda at: _tempered(at=at), temperature=_TEMPERATURE),
    _family(
        "top-k",
        lambda at: _tempered(TopKLogitsWarper(at["top_k"]), at=at),
        top_k=Range(1, 1000, default=40, is_log=True),  # from greedy to almost no truncation
        temperature=_TEMPERATURE,
    ),
    _family(
        "top-p",
        lambda at: _tempered(TopPLogitsWarper(at["top_p"]), at=at),
        top_p=Range(0.1, 1.0, default=0.9, step=0.01),  # best at 0.95 in arXiv:1904.09751
        temperature=_TEMPERATURE,
    ),
    _family(
        "min-p",
        lambda at: _tempered(MinPLogitsWarper(at["min_p"]), at=at),
        min_p=Range(0.001, 0.5, default=0.05, is_log=True),  # arXiv:2407.01082 recommends 0.05 to 0.1
        temperature=_TEMPERATURE,
    ),
    _family(
        "typical",
        lambda at: _tempered(TypicalLogitsWarper(at["typical_p"]), at=at),
        typical_p=Range(0.1, 0.99, default=0.9, step=0.01),  # arXiv:2202.00666 tries 0.2 to 0.95
        temperature=_TEMPERATURE,
    ),
    _family(
        "top-n-sigma",
        lambda at: _tempered(TopNSigmaLogitsProcessor(at["n_sigma"]), at=at),
        n_sigma=Range(0.3, 6.0, default=1.0, is_log=True),  # the paper uses 1; the bundled model's largest is at 5 to 6
        temperature=_TEMPERATURE,
    ),
    _family(
        "edt",
        lambda at: [EDTLogitsProcessor(at["base_temperature"], at["theta"])],
        base_temperature=_TEMPERATURE,
        theta=Range(0.0, 3.0, default=0.1, step=0.02),  # 0 is plain temperature; the paper tries 0.1 to 1
    ),
    _family(
        "adapt",
        lambda at: [
            AdapTLogitsProcessor(
                at["challenging_temperature"],
                at["confident_temperature"],
                entropy_threshold=at["entropy_threshold"],
            )
        ],
        challenging_temperature=_TEMPERATURE,
        confident_temperature=_TEMPERATURE,
        entropy_threshold=Range(0.0, 5.0, default=2.0, step=0.05),  # range of a language model's entropy [nats]
    ),
    _family(
        "mirostat",
        lambda at: _tempered(MirostatV2LogitsProcessor(at["tau"], at["eta"]), at=at),
        tau=Range(0.5, 8.0, default=3.0, is_log=True),  # [bits]; the paper tries 1 to 5 and more
        eta=Range(0.01, 1.0, default=0.1, is_log=True),
        temperature=_TEMPERATURE,
    ),
)

DECODER_FAMILIES: Mapping[str, DecoderFamily] = {family.name: family for family in _ALL}
"""Decoding methods by name."""


def _family_named(name: str) -> DecoderFamily:
    return DECODER_FAMILIES[name]


def decoder(name: str, /, **parameters: float) -> Decoder:
    """A decoding method by name, as an agent: ``decoder("min-p", min_p=0.05, temperature=1.2)``.

    Raises:
        InvalidValueError: the method or a parameter is unknown, or a value is invalid.
    """
    if not isinstance(name, str) or name not in DECODER_FAMILIES:
        raise InvalidValueError("decoder", f"must be one of {', '.join(DECODER_FAMILIES)}", repr(name))
    return DECODER_FAMILIES[name].agent(**parameters)
