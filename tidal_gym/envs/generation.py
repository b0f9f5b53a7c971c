"""Generation of N texts under gates: the device part of the environment, without episodes, rewards and numpy."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, PreTrainedModel

from lm.models.gate_names import NEUTRAL_GATES
from lm.models.text_config import text_config
from lm.runs.tensors.saved_state import joined
from tidal_gym.dynamics.history import RECENT_TOKENS, TokenHistory
from tidal_gym.dynamics.modulation import (
    GateEffects,
    ModulationConfig,
    SamplingDistribution,
    distribution_of,
    draw,
    gate_effects,
    modulate,
)
from tidal_gym.dynamics.neutral_distribution import TEMPERATURES, NeutralDistributionMeter
from tidal_gym.dynamics.observation import HiddenSummary, Trace, observe
from tidal_gym.dynamics.streams import TwoStreams, surprisal
from tidal_gym.rewards.costs import Cost
from tidal_gym.rewards.judge import Judge
from tidal_gym.rewards.rewards import Outcome, Reward, RewardTerms

_REMEMBERED = (
    "_log_normalizer", "neutral_entropy", "_recent", "_steps", "_prefix_lengths", "_surprisal", "_sampling_entropy",
    "_gates",
)  # fmt: skip
"""Names of the tensors (N, ...) with results of the last step."""


class Generation:
    """State of N generations: both streams, the texts, and results of the last step for the observation.

    :meth:`observe` must be called before each :meth:`accept`. Both change the state in place. Like :meth:`propose`,
    they have fixed shapes and do not synchronise with the device, so that a CUDA graph can record a step.

    Args:
        model: frozen causal LM.
        num_rows: number of rows N.
        capacity: maximum number of tokens of a row, special prefix included.
        step_limit: number of steps of a complete generation.
        context_length: context length of the model [tokens].
        modulation: configuration of the modulation.
        human_entropy: H*, the model's mean entropy on human text [nats].
        judge: judge of the rewards, which reads all tokens; None: no judge.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        num_rows: int,
        capacity: int,
        *,
        step_limit: int,
        context_length: int,
        modulation: ModulationConfig,
        human_entropy: float,
        judge: Judge | None = None,
    ) -> None:
        self.device = device = model.device
        self.dtype = torch.float64 if model.dtype == torch.float64 else torch.float32
        self.modulation = modulation
        self.history = TokenHistory(num_rows, capacity, device)
        self.streams = TwoStreams(model, num_rows, capacity, has_focus=modulation.focus_strength > 0)
        self._judge = judge
        self._human_entropy, self._step_limit, self._context_length = human_entropy, step_limit, context_length
        config = text_config(model)
        self._measure_neutral = NeutralDistributionMeter(
            config.vocab_size, modulation.strongest_penalty, self.dtype, device
        )
        self._summarize_hidden = HiddenSummary(config.hidden_size, self.dtype, device)
        # Statistics of p from the newest observation, for the next step.
        self._log_normalizer = torch.zeros(num_rows, dtype=self.dtype, device=device)
        self.neutral_entropy = torch.zeros_like(self._log_normalizer)
        """(N,) entropy [nats] of the neutral distribution p over the next token, from the newest observation."""
        self._recent = torch.zeros(num_rows, RECENT_TOKENS, dtype=torch.int64, device=device)
        # Results of the last step.
        self._steps, self._prefix_lengths = self.history.lengths.new_zeros(2, num_rows).unbind()
        self._surprisal, self._sampling_entropy = self._log_normalizer.new_zeros(2, num_rows).unbind()
        self._neutral = self._log_normalizer.new_tensor(NEUTRAL_GATES)
        self._gates = self._neutral.repeat(num_rows, 1)
        self._is_gated_stream_behind = False

    @torch.inference_mode()
    def begin(self, rows: Tensor, prompts: Tensor, lengths: Tensor, prefix_lengths: Tensor) -> None:
        """Resets rows.

        Args:
            rows: (R,) indices of the rows, ascending; all of them in the first call.
            prompts: (R, P) token ids, right-padded with any values.
            lengths: (R,) length of each prompt [tokens], at least 1.
            prefix_lengths: (R,) number of special tokens before the text, below the prompt's length.
        """
        columns = torch.arange(prompts.shape[1], device=rows.device) + prefix_lengths.unsqueeze(1)
        texts = prompts.gather(1, columns.clamp(max=prompts.shape[1] - 1))
        self.history.reset(rows, texts, lengths - prefix_lengths)
        outputs = self.streams.read_prompts(rows, prompts, lengths)
        if self._judge is not None:
            self._judge.begin(rows, prompts, lengths)
        newest = surprisal(outputs.before_newest, self.history.newest[rows])
        self._surprisal[rows] = torch.where(lengths > 1, newest, 0.0)
        self._sampling_entropy[rows] = self._human_entropy
        self._gates[rows] = self._neutral
        self._steps[rows] = 0
        self._prefix_lengths[rows] = prefix_lengths

    @torch.inference_mode()
    def copy_rows(self, other: Generation, rows: Tensor) -> None:
        """Copies rows of `other`: under the same gates and draws, the same texts follow.

        Args:
            other: generation of the same model, capacity, modulation and judge; it does not change.
            rows: (N,) which of its rows becomes each row here, with any repeats.
        """
        self.history.copy_rows(other.history, rows)
        self.streams.copy_rows(other.streams, rows)
        self._is_gated_stream_behind = other._is_gated_stream_behind
        if self._judge is not None and other._judge is not None:
            self._judge.copy_rows(other._judge, rows)
        for name in _REMEMBERED:
            getattr(self, name).copy_(getattr(other, name)[rows])

    @torch.inference_mode()
    def state(self) -> dict[str, Tensor]:
        """State of the generations: the tensors, not copies; see :class:`lm.streams.protocol.DecodingStream`."""
        self.catch_up()  # so that the tensors are the complete state
        return joined(
            last_step={name: getattr(self, name) for name in _REMEMBERED},
            history=self.history.state(),
            streams=self.streams.state(),
            judge={} if self._judge is None else self._judge.state(),
        )

    @torch.inference_mode()
    def observe(self, rows: Tensor | None = None) -> Tensor:
        """Observations (N, 64) float32, or (R, 64) for rows (R,), before the next token is drawn."""

        def of(values: Tensor) -> Tensor:
            return values if rows is None else values[rows]

        history, latest = self.history, self.streams.latest
        recent = of(history.recent())
        p = self._measure_neutral(of(latest.logits), of(history.tokens), of(history.is_first), recent)
        if rows is None:
            self._recent.copy_(recent)
            self._log_normalizer.copy_(p.log_normalizer)
            self.neutral_entropy.copy_(p.entropies[:, TEMPERATURES.index(1.0)])
        else:
            self._recent[rows] = recent
            self._log_normalizer[rows] = p.log_normalizer
            self.neutral_entropy[rows] = p.entropies[:, TEMPERATURES.index(1.0)]
        context_use = (history.lengths + self._prefix_lengths).float() / self._context_length
        trace = Trace(
            repetition_ratio=of(history.repetition_ratio()),
            distinct_bigrams=of(history.distinct_bigrams()),
            surprisal=of(self._surprisal),
            progress=of(self._steps).float() / self._step_limit,
            context_use=of(context_use),
            gates=of(self._gates),
            sampling_entropy=of(self._sampling_entropy),
        )
        return observe(p, self._summarize_hidden(of(latest.hidden)), trace, self._human_entropy)

    @torch.inference_mode()
    def propose(
        self, gates: Tensor, process: Callable[[Tensor], Tensor] | None = None, *, keep: bool = True
    ) -> tuple[SamplingDistribution, GateEffects]:
        """The sampling distribution q of the next token under gates (N, 3), and the gates' effects.

        Args:
            gates: creativity, focus and stability of each row.
            process: function that changes the gated stream's logits (N, V) before the modulation, or None.
            keep: whether the gated stream keeps the read token; False leaves it unchanged, for hypothetical actions.
        """
        effects = gate_effects(gates, self.modulation)
        logits = self.streams.gated_logits(self.history.newest, gates, effects.focus_bias, keep=keep)
        if process is not None:
            logits = process(logits)
        return modulate(logits, effects, self.history.tokens, self.modulation), effects

    def outcome(self, tokens: Tensor, sampling: SamplingDistribution) -> Outcome:
        """The reward's input for candidates (N, K) from q."""
        history = self.history
        log_prob = self.streams.latest.logits.gather(1, tokens) - self._log_normalizer.unsqueeze(1)
        judged = None if self._judge is None else self._judge.log_probs
        text, lengths = self.texts()
        return Outcome(tokens, log_prob, sampling, history.newest, self._recent, text, lengths, judged)

    @torch.inference_mode()
    def accept(self, gates: Tensor, outcome: Outcome) -> None:
        """Adds the drawn tokens of an outcome (K = 1) under gates (N, 3) to streams, judge and texts."""
        tokens = outcome.tokens[:, 0]
        self._surprisal.copy_(-outcome.log_prob[:, 0])
        self._sampling_entropy.copy_(outcome.sampling_entropy)
        self._gates.copy_(gates)
        self._steps += 1
        self.history.append(tokens)
        self.streams.advance(tokens)
        if self._judge is not None:
            self._judge.advance(tokens)

    @torch.inference_mode()
    def step(
        self,
        gates: Tensor,
        uniforms: Tensor,
        reward: Reward,
        cost: Cost | None = None,
        *,
        with_expectation: bool = False,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Draws a token in each row under gates (N, 3), with uniforms (N,) in [0, 1).

        Args:
            with_expectation: whether to report the exact expectation of the reward before the draw, too.

        Returns:
            The next observations (N, 64), and the step's reported values by name, (N,) each.
        """
        q, effects = self.propose(gates)
        return self._settle(q, gates, effects, uniforms, reward, cost, with_expectation=with_expectation)

    @torch.inference_mode()
    def step_with(
        self,
        processor: LogitsProcessor | LogitsProcessorList,
        uniforms: Tensor,
        reward: Reward,
        cost: Cost | None = None,
        *,
        with_expectation: bool = False,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Draws a token as :meth:`step`, but a logits processor makes q from the neutral stream's logits.

        The gates count as neutral. Temperature and penalty are reported as NaN, since they are not known. The gated
        stream does not read the tokens, see :meth:`catch_up`.
        """
        # A processor may change its input in place, and the reward still needs the logits.
        scores = processor(self.history.newest_last(), self.streams.latest.logits.clone())
        unknown = torch.full_like(uniforms, torch.nan)
        self._is_gated_stream_behind = True
        gates = self._neutral.expand(len(uniforms), -1)
        effects = GateEffects(unknown, unknown, unknown)
        q = distribution_of(scores)
        return self._settle(q, gates, effects, uniforms, reward, cost, with_expectation=with_expectation)

    def catch_up(self) -> None:
        """Updates the gated stream after :meth:`step_with`; needed before :meth:`propose` and :meth:`step`."""
        if self._is_gated_stream_behind:
            self.streams.catch_up(self.history.lengths + self._prefix_lengths)
            self._is_gated_stream_behind = False

    def _settle(
        self,
        q: SamplingDistribution,
        gates: Tensor,
        effects: GateEffects,
        uniforms: Tensor,
        reward: Reward,
        cost: Cost | None,
        *,
        with_expectation: bool,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        outcome = self.outcome(draw(q, uniforms).unsqueeze(1), q)
        scored = reward(outcome)
        report = {
            "reward": scored.total[:, 0],
            "token": outcome.tokens[:, 0],
            **{f"reward_{name}": term[:, 0] for name, term in scored.terms.items()},
            "log_prob": outcome.log_prob[:, 0],
            "entropy": outcome.sampling_entropy,
            "temperature": effects.temperature,
            "penalty": effects.penalty,
        }
        if with_expectation:
            report["expected_reward"] = _mean(q, reward(self.outcome(q.tokens, q)))
        if cost is not None:
            report["cost"] = cost(outcome)[:, 0]
        self.accept(gates, outcome)
        return self.observe(), report

    @torch.inference_mode()
    def prospects(self, actions: Tensor, reward: Reward) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Effects of actions (A, 3) or (A, N, 3) in each row; changes no state.

        Returns:
            Exact expected rewards of the next token (N, A); token ids, q and p of the distributions (N, A, K).
        """
        found = []
        for action in actions:
            q, _ = self.propose(action.expand(len(self._steps), -1), keep=False)
            outcome = self.outcome(q.tokens, q)
            found.append((_mean(q, reward(outcome)), q.tokens, q.probs, outcome.log_prob.exp()))
        expected, tokens, probs, neutral = (torch.stack(column, dim=1) for column in zip(*found, strict=True))
        return expected, tokens, probs, neutral

    @torch.inference_mode()
    def candidates(self, gates: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Token ids, q and p (N, K) of the sampling distributions under gates (N, 3), by descending q.

        Changes no state.
        """
        q, _ = self.propose(gates, keep=False)
        probs, order = q.probs.sort(dim=1, descending=True, stable=True)
        tokens = q.tokens.gather(1, order)
        return tokens, probs, self.outcome(tokens, q).log_prob.exp()

    def texts(self) -> tuple[Tensor, Tensor]:
        """Tokens (N, L) of the texts, special prefix excluded, and the length (N,) of each text."""
        return self.history.tokens, self.history.lengths


def _mean(q: SamplingDistribution, scored: RewardTerms) -> Tensor:
    """(N,) expectation under q of the given rewards of its tokens."""
    return (q.probs * scored.total).sum(dim=1)
