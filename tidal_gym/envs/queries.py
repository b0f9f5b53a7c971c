"""Questions to a vector environment: what could be drawn next, and what has been written. No state changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from lm.errors import InvalidValueError
from lm.models.bundle import Bundle
from lm.models.gate_names import GATE_NAMES
from tidal_gym.dynamics.actions import require_gates
from tidal_gym.dynamics.candidates import Candidates, Prospects
from tidal_gym.envs.episode_book import EpisodeBook
from tidal_gym.envs.generation import Generation
from tidal_gym.envs.scoring import Scoring
from tidal_gym.envs.text.prompts import PromptSet


class Queries:
    """Read-only methods of :class:`tidal_gym.envs.vector_env.TidalGatingVectorEnv`."""

    num_envs: int
    bundle: Bundle
    episodes: EpisodeBook
    _generation: Generation
    _prompts: PromptSet
    _scoring: Scoring

    def expected_rewards(self, actions: ArrayLike) -> NDArray[np.float64]:
        """Exact expected rewards of the next token for each action in each row's current state.

        Sums over q without sampling; no state changes. The one-step oracle maximises it.

        Args:
            actions: gates in [0, 1]: (A, 3) for all rows, or (A, N, 3) for each row.

        Returns:
            (N, A) expected rewards.
        """
        return self.prospects(actions).expected_rewards

    @torch.inference_mode()
    def prospects(self, actions: ArrayLike) -> Prospects:
        """Expected rewards as :meth:`expected_rewards`, with the sampling distribution of each action."""
        self.episodes.require_running()
        shape = np.shape(actions)
        if len(shape) not in (2, 3) or shape[0] < 1:
            rule = f"must have shape (A, 3) or (A, {self.num_envs}, 3), with at least one action"
            raise InvalidValueError("actions", rule, f"shape {shape}")
        rows = (self.num_envs,) if len(shape) == 3 else ()
        gates = self._generation.as_tensor(require_gates(actions, (shape[0], *rows, len(GATE_NAMES))))
        self._generation.catch_up()
        found = []
        for action in gates:
            possible = self._generation.possible(action.expand(self.num_envs, -1), self._scoring.judged)
            expected = self._scoring.expected_reward(possible)
            found.append((expected, possible.tokens, possible.sampling.probs, possible.log_prob.exp()))
        return Prospects(*_arrays(*(torch.stack(column, dim=1) for column in zip(*found, strict=True))))

    @torch.inference_mode()
    def candidates(self, actions: ArrayLike) -> Candidates:
        """The tokens that could be drawn next under actions (N, 3), the most probable first."""
        self.episodes.require_running()
        gates = require_gates(actions, (self.num_envs, len(GATE_NAMES)))
        possible = self._generation.possible(self._generation.as_tensor(gates))
        q, order = possible.sampling.probs.sort(dim=1, descending=True, stable=True)
        return Candidates(*_arrays(possible.tokens.gather(1, order), q, possible.log_prob.gather(1, order).exp()))

    def neutral_entropy(self) -> NDArray[np.float64]:
        """(N,) entropy [nats] of the neutral distribution p over the next token of each row."""
        return self._generation.neutral_entropy.to("cpu", torch.float64, copy=True).numpy()

    def token_embeddings(self) -> Tensor:
        """(V, D) the language model's input embeddings, as a float32 copy."""
        return self.bundle.model.get_input_embeddings().weight.detach().to("cpu", torch.float32, copy=True)

    def token_ids(self) -> list[list[int]]:
        """Token ids of each row's current episode: special prefix, prompt and drawn tokens."""
        return self._token_ids(np.ones(self.num_envs, np.bool_))

    def texts(self) -> list[str]:
        """Text of each row's current episode, without special tokens."""
        return [self.bundle.tokenizer.decode(ids, skip_special_tokens=True) for ids in self.token_ids()]

    def _token_ids(self, mask: NDArray[np.bool_]) -> list[list[int]]:
        tokens, lengths = (tensor.cpu().numpy() for tensor in self._generation.texts())
        return [[*self._prompts.prefix, *tokens[row, : lengths[row]].tolist()] for row in np.flatnonzero(mask)]


def _arrays(*columns: Tensor) -> tuple[NDArray[Any], ...]:
    """Tensors as arrays: float64 and int64."""
    return tuple((column if column.dtype == torch.int64 else column.double()).cpu().numpy() for column in columns)
