"""The vector environment of `TidalGating-v0`: N parallel generations under three gates.

See :class:`tidal_gym.envs.env.TidalGatingEnv` for actions, observations, rewards and arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from lm.checks import COUNT, at_least, require_integer, require_number
from lm.errors import InvalidValueError
from lm.memory import require_memory
from lm.models.bundle import load_bundle
from lm.models.gate_names import GATE_NAMES, NEUTRAL_GATES
from lm.models.gated_transformer import GatedTransformer
from lm.runs.tensors.saved_state import joined
from lm.settings import settings_from
from tidal_gym.dynamics.actions import require_gates
from tidal_gym.dynamics.candidates import Candidates, Prospects
from tidal_gym.dynamics.cuda_graph import Recorded
from tidal_gym.dynamics.modulation import ModulationConfig
from tidal_gym.dynamics.observation import OBSERVATION_SIZE
from tidal_gym.envs.episode_limit import DEFAULT_EPISODE_STEPS, require_episode_fits
from tidal_gym.envs.generation import Generation
from tidal_gym.envs.infos import add_objects, masked
from tidal_gym.envs.pickling import MadeAgain
from tidal_gym.envs.prompts import PromptSet, read_openings, tokenize_openings
from tidal_gym.envs.rendering import Renderer, view_episode
from tidal_gym.envs.reset_options import (
    require_autoreset_mode,
    require_names,
    require_render_mode,
    require_reset_mask,
    require_rows,
    require_uniforms,
    seeds_by_row,
)
from tidal_gym.rewards.costs import make_cost
from tidal_gym.rewards.judge import DEFAULT_JUDGE, Judge
from tidal_gym.rewards.language_model_judge import open_language_model_judge
from tidal_gym.rewards.rewards import RewardReference, make_reward

_EPISODE = ("_steps", "_prompt_lengths", "_is_finished", "_uniforms", "_gates_taken")
"""Names of the arrays (N, ...) with each row's episode state."""


class TidalGatingVectorEnv(VectorEnv[NDArray[np.float32], ArrayLike, NDArray[Any]], MadeAgain):
    """Vector environment of `TidalGating-v0`: N episodes, stepped with one batched model.

    A row's episodes do not depend on the number of rows: each row has a generator of its own, seeded with
    ``seed + row``, for its prompts and one uniform number per token. With ``dtype="float64"`` this is exact; the other
    types are deterministic for a given number of rows.

    Args:
        num_envs: number of rows N, at least 1.
        autoreset_mode: "NextStep", "SameStep" or "Disabled", or a member of ``AutoresetMode``. SAME_STEP stores copies
            of the final observations in ``infos["final_obs"]`` and the infos of finished rows in
            ``infos["final_info"]``; with DISABLED, ``reset(options={"reset_mask": mask})`` resets finished rows.
        max_episode_steps: maximum number of drawn tokens of an episode.
        expected_reward: whether ``info["expected_reward"]`` contains the exact expectation of the reward over q.
        model, statistics, dtype, device, prompts, prompt_tokens, modulation, reward, reward_weights, judge,
            entropy_target, cost, cost_bound, render_mode: as in :class:`tidal_gym.envs.env.TidalGatingEnv`.

    Raises:
        InvalidValueError: an argument is invalid, or the episode does not fit into the model's context.
        ModelFolderError: the model, its tokenizer or its statistics are missing.
    """

    metadata: dict[str, Any] = {"render_modes": ["human", "ansi", "rgb_array"], "render_fps": 5}

    def __init__(
        self,
        num_envs: int = 1,
        *,
        model: str = "tidal-tiny",
        statistics: str | None = None,
        dtype: str = "auto",
        device: str = "cpu",
        prompts: str | Sequence[str] = "train",
        prompt_tokens: Sequence[int] = (3, 10),
        modulation: Mapping[str, Any] | ModulationConfig | None = None,
        reward: str = "tidal",
        reward_weights: Mapping[str, float] | None = None,
        judge: str | None = None,
        entropy_target: float | None = None,
        cost: str | None = None,
        cost_bound: float | None = None,
        max_episode_steps: int = DEFAULT_EPISODE_STEPS,
        expected_reward: bool = False,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
    ) -> None:
        arguments = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        MadeAgain.__init__(self, **arguments)
        require_names(
            {"model": model, "dtype": dtype, "device": device, "reward": reward},
            {"statistics": statistics, "judge": judge, "cost": cost},
        )
        if not isinstance(prompts, (str, Sequence)):
            raise InvalidValueError("prompts", "must be a name, a file or a list of strings", repr(prompts))
        if not isinstance(expected_reward, bool):
            raise InvalidValueError("expected_reward", "must be true or false", repr(expected_reward))
        if entropy_target is not None:
            require_number("entropy_target", entropy_target, at_least(1e-3, 1e3))
        self.num_envs = require_integer("num_envs", num_envs, COUNT)
        self.autoreset_mode = require_autoreset_mode(autoreset_mode)
        self.metadata = {**self.metadata, "autoreset_mode": self.autoreset_mode}
        self.render_mode = require_render_mode(render_mode, self.metadata["render_modes"])
        self._renderer = Renderer(render_mode) if render_mode else None
        self.single_observation_space = Box(-np.inf, np.inf, (OBSERVATION_SIZE,), np.float32)
        self.single_action_space = Box(0.0, 1.0, (len(GATE_NAMES),), np.float32)

        settings = settings_from(ModulationConfig, "modulation", modulation)
        self.bundle = load_bundle(model, statistics=statistics, dtype=dtype, device=device)
        statistics_of_text = self.bundle.statistics
        context_length = self.bundle.context_length
        self._prompts = self._read_prompts(prompts, prompt_tokens)
        self.max_episode_steps = require_integer("max_episode_steps", max_episode_steps, COUNT)
        self.capacity = capacity = require_episode_fits(
            self.max_episode_steps, longest_prompt=self._prompts.longest, context_length=context_length
        )
        """Capacity of a row [tokens]: special prefix, prompt, drawn tokens, and one spare token."""
        require_memory("num_envs", self.num_envs, "its episodes", lambda count: count * self._bytes_of_row())
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        opened_judge = self._open_judge(judge, reward)
        target = statistics_of_text.human_entropy if entropy_target is None else entropy_target
        reference = RewardReference(statistics_of_text, self.bundle.vocab_size, target, opened_judge is not None)
        self._reward = make_reward(reward, reference, reward_weights)
        self._cost = make_cost(cost, reference, cost_bound)

        self._generation = Generation(
            self.bundle.model,
            self.num_envs,
            capacity,
            step_limit=self.max_episode_steps,
            context_length=context_length,
            modulation=settings,
            human_entropy=statistics_of_text.human_entropy,
            judge=opened_judge,
        )
        self._with_expectation = expected_reward
        self._step_on_device: Callable[[Tensor, Tensor], tuple[Tensor, dict[str, Tensor]]] = self._transition
        # Other models and judges may synchronise with the device.
        is_fixed = isinstance(self.bundle.model, GatedTransformer) and (opened_judge is None or opened_judge.is_fixed)
        if self._generation.device.type == "cuda" and is_fixed:
            self._step_on_device = Recorded(self._transition)

        self.row_generators: list[np.random.Generator] = []
        """Random generator of each row; empty before the first reset."""
        self._row_seeds: list[int] = []
        self._is_halfway = False
        self._rows = np.arange(self.num_envs)
        self._steps = np.zeros(self.num_envs, np.int64)
        self._prompt_lengths = np.zeros(self.num_envs, np.int64)
        self._is_finished = np.ones(self.num_envs, np.bool_)
        # One additional step: under NEXT_STEP autoreset a finished row idles in the step of its reset.
        self._uniforms = np.zeros((self.num_envs, self.max_episode_steps + 1))
        self._gates_taken = np.zeros((self.num_envs, self.max_episode_steps + 1, len(GATE_NAMES)))

    def _bytes_of_row(self) -> int:
        """Minimum memory [bytes] of a row: keys and values of both streams, and logits."""
        model = self.bundle.model
        config = model.config.get_text_config()
        heads = config.num_attention_heads
        shared = (getattr(config, "num_key_value_heads", None) or heads) / heads
        cache = 4 * config.num_hidden_layers * config.hidden_size * shared * model.dtype.itemsize
        return int(self.capacity * cache) + 4 * config.vocab_size

    @property
    def modulation(self) -> ModulationConfig:
        """Configuration of the modulation."""
        return self._generation.modulation

    # Hooks for environments on other texts

    def _read_prompts(self, prompts: str | Sequence[str], lengths: Sequence[int]) -> PromptSet:
        """Reads the prompts of episodes."""
        context_length = self.bundle.context_length
        return tokenize_openings(
            read_openings(prompts), self.bundle.tokenizer, lengths=lengths, context_length=context_length
        )

    def _open_judge(self, name: str | None, reward: str) -> Judge | None:
        """Opens the judge: a named language model, or the default one for the reward `judge`; None without a judge."""
        if name is None and reward != "judge":
            return None
        return open_language_model_judge(name or DEFAULT_JUDGE, self.bundle, self.num_envs, self.capacity)

    def _is_at_end(self, tokens: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(N,) whether the texts end with the last drawn tokens (N,)."""
        return tokens == self.bundle.eos_token_id

    @property
    def neutral_action(self) -> NDArray[np.float32]:
        """(3,) the neutral action: plain sampling from the model."""
        return np.array(NEUTRAL_GATES, np.float32)

    @property  # type: ignore[misc]
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override]
        """Random generator of each row, as in Gymnasium's vector environments; empty before the first reset."""
        return tuple(self.row_generators)

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]
        """Seed of each row's generator; empty before the first reset."""
        return tuple(self._row_seeds)

    # Reset and step

    @torch.inference_mode()
    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begins new episodes.

        Args:
            seed: an integer s seeds row i with s + i, a list seeds each row; None keeps a row's generator.
            options: ``{"reset_mask": mask}``, (N,) bool, resets only the rows that are True.

        Returns:
            Observations (N, 64), and an empty info.

        Raises:
            InvalidValueError: the seeds or the mask are invalid, or there are other options.
            gymnasium.error.ResetNeeded: a step was interrupted by an exception, and not all rows are reset.
        """
        rows = require_reset_mask(options, self.num_envs)
        seeds = seeds_by_row(seed, self.num_envs)
        if not rows.all():
            self._require_whole()
        if not self.row_generators:  # the first reset
            rows = np.ones(self.num_envs, np.bool_)
            self.row_generators, self._row_seeds = map(list, zip(*map(seeding.np_random, seeds), strict=True))
        for row in np.flatnonzero(rows):
            if seeds[row] is not None:
                self.row_generators[row], self._row_seeds[row] = seeding.np_random(seeds[row])
        with self.one_piece():
            self._begin_episodes(rows)
            observations = self._generation.observe().cpu().numpy()
        self._render_if_human()
        return observations, {}

    @torch.inference_mode()
    def step(
        self, actions: ArrayLike
    ) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Draws one token in each row.

        Args:
            actions: (N, 3) gates in [0, 1].

        Returns:
            Observations (N, 64) float32, rewards (N,) float64, terminations (N,), truncations (N,) and infos.

        Raises:
            InvalidValueError: the actions have a wrong shape, are not finite or out of range.
            gymnasium.error.ResetNeeded: before the first reset, while a row needs a reset (DISABLED autoreset), or
                after a step that was interrupted by an exception, for example in a reward.
        """
        self._require_running()
        gates = require_gates(actions, (self.num_envs, len(GATE_NAMES)))
        with self.one_piece():
            self._generation.catch_up()
            result = self._end_of_step(*self._step_on_device(self._as_tensor(gates), self._begin_step(gates)))
        self._render_if_human()
        return result

    @torch.inference_mode()
    def step_with(
        self, processor: LogitsProcessor | LogitsProcessorList
    ) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Draws one token in each row with a logits processor in place of gates.

        Random numbers, rewards, infos and autoreset are those of :meth:`step`, so that any decoding method of
        transformers can be compared with gates. The gates count as neutral; the infos' temperature and penalty are NaN.
        Both kinds of steps may alternate: for a gated step, previous tokens count as read under neutral gates.

        Args:
            processor: logits processor, called with the texts (N, L), left-padded with their first tokens, and the
                neutral stream's logits (N, V).

        Returns:
            The same as :meth:`step`.

        Raises:
            gymnasium.error.ResetNeeded: as for :meth:`step`.
        """
        self._require_running()
        with self.one_piece():
            uniforms, expects = self._begin_step(self.neutral_action), self._with_expectation
            result = self._end_of_step(
                *self._generation.step_with(processor, uniforms, self._reward, self._cost, with_expectation=expects)
            )
        self._render_if_human()
        return result

    def expected_rewards(self, actions: ArrayLike) -> NDArray[np.float64]:
        """Exact expected rewards of the next token for each action in each row's current state.

        Sums over q without sampling; no state changes. The one-step oracle maximises it.

        Args:
            actions: gates in [0, 1]: (A, 3) for all rows, or (A, N, 3) for each row.

        Returns:
            (N, A) expected rewards.
        """
        return self._ask(actions)[0].cpu().numpy().astype(np.float64)

    def prospects(self, actions: ArrayLike) -> Prospects:
        """Expected rewards as :meth:`expected_rewards`, with the sampling distribution of each action."""
        expected, tokens, q, p = (column.cpu().numpy() for column in self._ask(actions))
        return Prospects(expected.astype(np.float64), tokens, q.astype(np.float64), p.astype(np.float64))

    @torch.inference_mode()
    def _ask(self, actions: ArrayLike) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Expected rewards (N, A), and ids, q and p (N, A, K), on the device."""
        self._require_running()
        shape = np.shape(actions)
        if len(shape) not in (2, 3) or shape[0] < 1:
            rule = f"must have shape (A, 3) or (A, {self.num_envs}, 3), with at least one action"
            raise InvalidValueError("actions", rule, f"shape {shape}")
        rows = (self.num_envs,) if len(shape) == 3 else ()
        gates = self._as_tensor(require_gates(actions, (shape[0], *rows, len(GATE_NAMES))))
        self._generation.catch_up()
        return self._generation.prospects(gates, self._reward)

    @torch.inference_mode()
    def candidates(self, actions: ArrayLike) -> Candidates:
        """Tokens of the sampling distributions under actions (N, 3). Nothing is drawn and no state changes."""
        self._require_running()
        gates = self._as_tensor(require_gates(actions, (self.num_envs, len(GATE_NAMES))))
        tokens, q, p = (column.cpu().numpy() for column in self._generation.candidates(gates))
        return Candidates(tokens, q.astype(np.float64), p.astype(np.float64))

    @contextmanager
    def one_piece(self) -> Iterator[None]:
        """Context for operations that must complete: after an exception inside, all rows must be reset.

        An exception in a reward, cost, judge or processor, or an interrupt, leaves streams, texts and counters
        inconsistent.
        """
        self._is_halfway = True
        yield
        self._is_halfway = False

    def _require_whole(self) -> None:
        if self._is_halfway:
            raise gymnasium.error.ResetNeeded(
                "The last step or reset was interrupted by an exception: call `reset()` for all rows first."
            )

    def _require_running(self) -> None:
        self._require_whole()
        if not self.row_generators:
            raise gymnasium.error.ResetNeeded("Call `reset` before `step`.")
        if self.autoreset_mode is AutoresetMode.DISABLED and self._is_finished.any():
            rows = np.flatnonzero(self._is_finished).tolist()
            raise gymnasium.error.ResetNeeded(
                f"The episodes of the rows {rows} have ended: call `reset(options={{'reset_mask': mask}})` first."
            )

    def _begin_step(self, gates: NDArray[np.floating]) -> Tensor:
        """Counts a step under gates (N, 3) or (3,), and returns the random numbers (N,) for sampling."""
        uniforms = self._as_tensor(self._uniforms[self._rows, self._steps])
        self._gates_taken[self._rows, self._steps] = gates
        self._steps += 1
        return uniforms

    def _transition(self, gates: Tensor, uniforms: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The device part of a step: returns the next observations and the reported values."""
        expects = self._with_expectation
        return self._generation.step(gates, uniforms, self._reward, self._cost, with_expectation=expects)

    def _end_of_step(
        self, observed: Tensor, report: dict[str, Tensor]
    ) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        observations = observed.cpu().numpy()
        # One transfer for all; float64 holds every token id.
        columns = torch.stack([column.double() for column in report.values()]).cpu().numpy()
        values: dict[str, NDArray[Any]] = dict(zip(report, columns, strict=True))
        values["token"] = tokens = values["token"].astype(np.int64)
        has_stepped = ~self._is_finished  # NEXT_STEP autoreset resets the other rows
        self._require_numbers((values["log_prob"] + values["entropy"])[has_stepped])
        rewards = np.where(has_stepped, values.pop("reward"), 0.0)
        terminations = self._is_at_end(tokens) & has_stepped
        truncations = (self._steps >= self.max_episode_steps) & has_stepped
        is_over = terminations | truncations
        self._is_finished = is_over.copy()

        if self.autoreset_mode is AutoresetMode.SAME_STEP and is_over.any():
            infos = masked(values, ~is_over)
            final_info = masked(values, is_over)
            add_objects(final_info, "token_ids", self._token_ids(is_over), is_over)
            infos["final_info"], infos["_final_info"] = final_info, is_over.copy()
            add_objects(infos, "final_obs", [observations[row].copy() for row in np.flatnonzero(is_over)], is_over)
            observations = self._begin_within_step(is_over, observations)
        else:
            infos = masked(values, has_stepped)
            if is_over.any():
                add_objects(infos, "token_ids", self._token_ids(is_over), is_over)
            if not has_stepped.all():
                observations = self._begin_within_step(~has_stepped, observations)
        return observations, rewards, terminations, truncations, infos

    def _require_numbers(self, values: NDArray[np.float64]) -> None:
        """Raises InvalidValueError if a sampling distribution contains NaN."""
        if np.isnan(values).any():
            rule = "must predict finite probabilities under these gates and settings"
            hint = "Use another `dtype`, smaller ranges of the modulation, or another model."
            raise InvalidValueError("model", rule, f"NaN from '{self.bundle.name}'", hint)

    def _begin_within_step(self, mask: NDArray[np.bool_], observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """Resets the rows of the mask (N,), and writes their first observations into `observations`."""
        rows = self._begin_episodes(mask)
        observations = observations.copy()
        observations[mask] = self._generation.observe(rows).cpu().numpy()
        return observations

    def _begin_episodes(self, mask: NDArray[np.bool_]) -> Tensor:
        """Draws prompts for the rows of the mask (N,) and starts their generations; returns the rows (R,)."""
        places = np.flatnonzero(mask)
        generators = [self.row_generators[row] for row in places]
        batch = self._prompts.draw_batch(generators)
        self._uniforms[places, :-1] = [generator.random(self.max_episode_steps) for generator in generators]
        self._steps[places] = 0
        self._prompt_lengths[places] = batch.lengths
        self._is_finished[places] = False
        prefix = np.array(self._prompts.prefix, np.int64)
        prompts = np.concatenate((np.tile(prefix, (len(places), 1)), batch.tokens), axis=1)
        arrays = (places, prompts, batch.lengths + len(prefix), np.full(len(places), len(prefix)))
        rows, *begun = (torch.as_tensor(array, device=self._generation.device) for array in arrays)
        self._generation.begin(rows, *begun)
        return rows

    def resized(self, num_envs: int, **changes: Any) -> Self:
        """Makes another environment with the same arguments, except for the number of rows and `changes`."""
        return type(self)(**{**self._ezpickle_kwargs, "num_envs": num_envs, **changes})

    def copy_rows(self, other: TidalGatingVectorEnv, rows: ArrayLike, uniforms: ArrayLike | None = None) -> None:
        """Copies rows of `other`: each row continues the episode of one of its rows, for hypothetical rollouts.

        Args:
            other: environment made with the same arguments except for the number of rows; it does not change.
            rows: (N,) indices of its rows, repeats allowed.
            uniforms: (N, max_episode_steps) random numbers in [0, 1) for sampling from the current step on; None: those
                of `other`, so that the same gates lead to the same tokens.

        Raises:
            InvalidValueError: rows or uniforms are invalid.
            gymnasium.error.ResetNeeded: one of the two has never been reset.
        """
        self._require_running()
        other._require_running()
        rows = require_rows(rows, self.num_envs, other.num_envs)
        if uniforms is not None:
            uniforms = require_uniforms(uniforms, (self.num_envs, self.max_episode_steps))
        with self.one_piece():
            self._generation.copy_rows(other._generation, torch.as_tensor(rows, device=self._generation.device))
            for name in _EPISODE:
                np.copyto(getattr(self, name), getattr(other, name)[rows])
            if uniforms is not None:
                columns = (np.arange(self.max_episode_steps) - self._steps[:, None]) % self.max_episode_steps
                self._uniforms[:, :-1] = np.take_along_axis(uniforms, columns, axis=1)

    def state(self) -> dict[str, Tensor]:
        """State of the current episodes: the tensors themselves, not copies; see :mod:`tidal_gym.envs.env_state`."""
        episode = {name: torch.from_numpy(getattr(self, name)) for name in _EPISODE}
        return joined(episode=episode, generation=self._generation.state())

    # Inspection of episodes

    def token_embeddings(self) -> Tensor:
        """(V, D) the language model's input embeddings, as a float32 copy."""
        return self.bundle.model.get_input_embeddings().weight.detach().to("cpu", torch.float32, copy=True)

    def token_ids(self) -> list[list[int]]:
        """Token ids of each row's current episode: special prefix, prompt and drawn tokens."""
        return self._token_ids(np.ones(self.num_envs, np.bool_))

    def neutral_entropy(self) -> NDArray[np.float64]:
        """(N,) entropy [nats] of the neutral distribution p over the next token of each row."""
        return self._generation.neutral_entropy.to("cpu", torch.float64, copy=True).numpy()

    def texts(self) -> list[str]:
        """Text of each row's current episode, without special tokens."""
        return [self.bundle.tokenizer.decode(ids, skip_special_tokens=True) for ids in self.token_ids()]

    def render(self) -> tuple[Any, ...] | None:
        """Renders each row's current episode: strings (`ansi`), images (`rgb_array`), or None (`human`)."""
        if self._renderer is None:
            gymnasium.logger.warn("`render` needs a render mode: make the environment with render_mode='ansi', say.")
            return None
        self._require_whole()
        views = []
        for row, ids in enumerate(self.token_ids()):
            prompt_length = len(self._prompts.prefix) + int(self._prompt_lengths[row])
            gates = self._gates_taken[row, : self._steps[row]]
            views.append(view_episode(self.bundle.tokenizer, ids, prompt_length, gates, self.max_episode_steps))
        return self._renderer.show(views)

    def close_extras(self, **kwargs: Any) -> None:
        """Closes the renderer and restores the terminal."""
        if self._renderer is not None:
            self._renderer.close()

    def _token_ids(self, mask: NDArray[np.bool_]) -> list[list[int]]:
        tokens, lengths = (tensor.cpu().numpy() for tensor in self._generation.texts())
        return [[*self._prompts.prefix, *tokens[row, : lengths[row]].tolist()] for row in np.flatnonzero(mask)]

    def _render_if_human(self) -> None:
        if self.render_mode == "human":
            self.render()

    def _as_tensor(self, array: NDArray[Any]) -> Tensor:
        return torch.as_tensor(array, dtype=self._generation.dtype, device=self._generation.device)
