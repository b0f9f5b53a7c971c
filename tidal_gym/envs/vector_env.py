"""The vector environment of `TidalGating-v0`: N parallel generations under three gates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self, TypeAlias

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from lm.checks import COUNT, at_least, require_integer, require_number
from lm.errors import InvalidValueError
from lm.memory import require_memory
from lm.model_names import DEFAULT_JUDGE
from lm.models.bundle import load_bundle
from lm.models.gate_names import GATE_NAMES, NEUTRAL_GATES
from lm.models.gated_transformer import GatedTransformer
from lm.runs.tensors.saved_state import joined
from lm.settings import settings_from
from tidal_gym.dynamics.actions import require_gates
from tidal_gym.dynamics.cuda_graph import Recorded
from tidal_gym.dynamics.modulation import GateEffects, ModulationConfig
from tidal_gym.dynamics.observation import OBSERVATION_SIZE
from tidal_gym.dynamics.sampling_distribution import SamplingDistribution, draw
from tidal_gym.envs.episode_book import EpisodeBook
from tidal_gym.envs.episode_limit import DEFAULT_EPISODE_STEPS, require_episode_fits
from tidal_gym.envs.generation import Generation, bytes_of_row
from tidal_gym.envs.infos import same_step_infos, step_infos, to_arrays
from tidal_gym.envs.pickling import MadeAgain
from tidal_gym.envs.queries import Queries
from tidal_gym.envs.reset_options import (
    require_autoreset_mode,
    require_names,
    require_render_mode,
    require_reset_mask,
    require_rows,
    require_uniforms,
    seeds_by_row,
)
from tidal_gym.envs.scoring import Scoring
from tidal_gym.envs.text.prompts import PromptSet, read_openings, tokenize_openings
from tidal_gym.envs.text.rendering import Renderer, view_episode
from tidal_gym.rewards.costs import make_cost
from tidal_gym.rewards.judge import Judge
from tidal_gym.rewards.language_model_judge import open_language_model_judge
from tidal_gym.rewards.rewards import RewardReference, make_reward

Step: TypeAlias = tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]
"""Observations (N, 64), rewards (N,), terminations (N,), truncations (N,) and infos."""


class TidalGatingVectorEnv(VectorEnv[NDArray[np.float32], ArrayLike, NDArray[Any]], Queries, MadeAgain):
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
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
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
        human_entropy, context_length = self.bundle.statistics.human_entropy, self.bundle.context_length
        self._prompts = self._read_prompts(prompts, prompt_tokens)
        self.max_episode_steps = require_integer("max_episode_steps", max_episode_steps, COUNT)
        self.capacity = require_episode_fits(
            self.max_episode_steps, longest_prompt=self._prompts.longest, context_length=context_length
        )
        """Capacity of a row [tokens]: special prefix, prompt, drawn tokens, and one spare token."""
        row_size = bytes_of_row(self.bundle.model, self.capacity)
        device = str(self.bundle.model.device)
        require_memory("num_envs", self.num_envs, "its episodes", lambda count: count * row_size, device)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        opened_judge = self._open_judge(judge, reward)
        target = human_entropy if entropy_target is None else entropy_target
        reference = RewardReference(self.bundle.statistics, self.bundle.vocab_size, target, opened_judge is not None)
        self._scoring = Scoring(
            reward=make_reward(reward, reference, reward_weights),
            cost=make_cost(cost, reference, cost_bound),
            judge=opened_judge,
            with_expectation=expected_reward,
        )
        self._generation = Generation(
            self.bundle.model,
            self.num_envs,
            self.capacity,
            step_limit=self.max_episode_steps,
            context_length=context_length,
            modulation=settings,
            human_entropy=human_entropy,
        )
        self._step_on_device: Callable[[Tensor, Tensor], tuple[Tensor, dict[str, Tensor]]] = self._transition
        # Other models and judges may synchronise with the device.
        is_fixed = isinstance(self.bundle.model, GatedTransformer) and (opened_judge is None or opened_judge.is_fixed)
        if self._generation.device.type == "cuda" and is_fixed:
            self._step_on_device = Recorded(self._transition)

        self.episodes = EpisodeBook(
            self.num_envs, self.max_episode_steps, is_reset_by_caller=self.autoreset_mode is AutoresetMode.DISABLED
        )
        """Records of each row's episode: generators, random numbers, steps, gates taken."""

    @property
    def modulation(self) -> ModulationConfig:
        """Configuration of the modulation."""
        return self._generation.modulation

    # Hooks for environments on other texts

    def _read_prompts(self, prompts: str | Sequence[str], lengths: Sequence[int]) -> PromptSet:
        """Reads the prompts of episodes."""
        openings, context_length = read_openings(prompts), self.bundle.context_length
        return tokenize_openings(openings, self.bundle.tokenizer, lengths=lengths, context_length=context_length)

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
        return tuple(self.episodes.generators)

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]
        """Seed of each row's generator; empty before the first reset."""
        return tuple(self.episodes.seeds)

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
            self.episodes.require_whole()
        if not self.episodes.has_begun:
            rows = np.ones(self.num_envs, np.bool_)
        self.episodes.seed(seeds, rows)
        with self.episodes.one_piece():
            self._begin_episodes(rows)
            observations = self._generation.observe().cpu().numpy()
        self._render_if_human()
        return observations, {}

    @torch.inference_mode()
    def step(self, actions: ArrayLike) -> Step:
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
        self.episodes.require_running()
        gates = require_gates(actions, (self.num_envs, len(GATE_NAMES)))
        with self.episodes.one_piece():
            self._generation.catch_up()
            uniforms = self._generation.as_tensor(self.episodes.take_step(gates))
            result = self._end_step(*self._step_on_device(self._generation.as_tensor(gates), uniforms))
        self._render_if_human()
        return result

    @torch.inference_mode()
    def step_with(self, processor: LogitsProcessor | LogitsProcessorList) -> Step:
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
        self.episodes.require_running()
        with self.episodes.one_piece():
            uniforms = self._generation.as_tensor(self.episodes.take_step(self.neutral_action))
            neutral = self._generation.as_tensor(self.neutral_action).expand(self.num_envs, -1)
            result = self._end_step(*self._draw(neutral, *self._generation.propose_with(processor), uniforms))
        self._render_if_human()
        return result

    def _transition(self, gates: Tensor, uniforms: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """A step on the device, under gates (N, 3) with uniform numbers (N,): see :meth:`_draw`."""
        return self._draw(gates, *self._generation.propose(gates), uniforms)

    def _draw(
        self, gates: Tensor, q: SamplingDistribution, effects: GateEffects, uniforms: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Draws a token of every row from q; returns the next observations (N, 64), and what the step reports."""
        generation, scoring = self._generation, self._scoring
        drawn = generation.outcome(draw(q, uniforms).unsqueeze(1), q, scoring.judged)
        possible = generation.outcome(q.tokens, q, scoring.judged) if scoring.with_expectation else None
        report = scoring.report(drawn, possible, effects)
        generation.accept(gates, drawn)
        scoring.read(drawn.tokens[:, 0])
        return generation.observe(), report

    def _end_step(self, observed: Tensor, report: dict[str, Tensor]) -> Step:
        """Which episodes are over and begin anew, and what the step returns."""
        observations, values = observed.cpu().numpy(), to_arrays(report)
        has_stepped = ~self.episodes.is_finished  # NEXT_STEP autoreset resets the other rows
        self._require_numbers((values["log_prob"] + values["entropy"])[has_stepped])
        rewards = np.where(has_stepped, values.pop("reward"), 0.0)
        terminations = self._is_at_end(values["token"]) & has_stepped
        truncations = (self.episodes.steps >= self.max_episode_steps) & has_stepped
        is_over = terminations | truncations
        self.episodes.is_finished = is_over.copy()

        token_ids = self._token_ids(is_over) if is_over.any() else []
        if self.autoreset_mode is AutoresetMode.SAME_STEP:
            infos, begins = same_step_infos(values, observations, token_ids, is_over), is_over
        else:
            infos, begins = step_infos(values, has_stepped, token_ids, is_over), ~has_stepped
        if begins.any():
            rows = self._begin_episodes(begins)
            observations = observations.copy()
            observations[begins] = self._generation.observe(rows).cpu().numpy()
        return observations, rewards, terminations, truncations, infos

    def _require_numbers(self, values: NDArray[np.float64]) -> None:
        """Raises InvalidValueError if a sampling distribution contains NaN."""
        if np.isnan(values).any():
            rule = "must predict finite probabilities under these gates and settings"
            hint = "Use another `dtype`, smaller ranges of the modulation, or another model."
            raise InvalidValueError("model", rule, f"NaN from '{self.bundle.name}'", hint)

    def _begin_episodes(self, mask: NDArray[np.bool_]) -> Tensor:
        """Draws prompts for the rows of the mask (N,) and starts their generations; returns the rows (R,)."""
        places = np.flatnonzero(mask)
        batch = self._prompts.draw_batch([self.episodes.generators[row] for row in places])
        self.episodes.begin(places, batch.lengths)
        prefix = np.array(self._prompts.prefix, np.int64)
        prompts = np.concatenate((np.tile(prefix, (len(places), 1)), batch.tokens), axis=1)
        arrays = (places, prompts, batch.lengths + len(prefix), np.full(len(places), len(prefix)))
        rows, *begun = (torch.as_tensor(array, device=self._generation.device) for array in arrays)
        self._generation.begin(rows, *begun)
        self._scoring.begin(rows, *begun[:2])
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
        self.episodes.require_running()
        other.episodes.require_running()
        rows = require_rows(rows, self.num_envs, other.num_envs)
        if uniforms is not None:
            uniforms = require_uniforms(uniforms, (self.num_envs, self.max_episode_steps))
        with self.episodes.one_piece():
            places = torch.as_tensor(rows, device=self._generation.device)
            self._generation.copy_rows(other._generation, places)
            self._scoring.copy_rows(other._scoring, places)
            self.episodes.copy_rows(other.episodes, rows, uniforms)

    def state(self) -> dict[str, Tensor]:
        """State of the current episodes: the tensors themselves, not copies; see :mod:`tidal_gym.envs.env_state`."""
        return joined(
            episode=self.episodes.state(), generation=self._generation.state(), judge=self._scoring.judge_state()
        )

    def render(self) -> tuple[Any, ...] | None:
        """Renders each row's current episode: strings (`ansi`), images (`rgb_array`), or None (`human`)."""
        if self._renderer is None:
            gymnasium.logger.warn("`render` needs a render mode: make the environment with render_mode='ansi', say.")
            return None
        self.episodes.require_whole()
        views = []
        for row, ids in enumerate(self.token_ids()):
            prompt_length = len(self._prompts.prefix) + int(self.episodes.prompt_lengths[row])
            gates = self.episodes.gates_of(row)
            views.append(view_episode(self.bundle.tokenizer, ids, prompt_length, gates, self.max_episode_steps))
        return self._renderer.show(views)

    def close_extras(self, **kwargs: Any) -> None:
        """Closes the renderer and restores the terminal."""
        if self._renderer is not None:
            self._renderer.close()

    def _render_if_human(self) -> None:
        if self.render_mode == "human":
            self.render()
