"""Generation of N texts under gates: the device part of the environment, without episodes and rewards."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, PreTrainedModel

from lm.models.gate_names import NEUTRAL_GATES
from lm.models.text_config import text_config
from lm.runs.tensors.saved_state import joined
from tidal_gym.dynamics.history import RECENT_TOKENS, TokenHistory
from tidal_gym.dynamics.modulation import GateEffects, ModulationConfig, gate_effects, modulate
from tidal_gym.dynamics.neutral_distribution import TEMPERATURES, NeutralDistributionMeter
from tidal_gym.dynamics.observation import HiddenSummary, Trace, observe
from tidal_gym.dynamics.sampling_distribution import SamplingDistribution, distribution_of
from tidal_gym.dynamics.streams import TwoStreams, surprisal
from tidal_gym.rewards.rewards import Outcome

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
    ) -> None:
        self.device = device = model.device
        self.dtype = torch.float64 if model.dtype == torch.float64 else torch.float32
        self.modulation = modulation
        self.history = TokenHistory(num_rows, capacity, device)
        self.streams = TwoStreams(model, num_rows, capacity, has_focus=modulation.focus_strength > 0)
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
            other: generation of the same model, capacity and modulation; it does not change.
            rows: (N,) which of its rows becomes each row here, with any repeats.
        """
        self.history.copy_rows(other.history, rows)
        self.streams.copy_rows(other.streams, rows)
        self._is_gated_stream_behind = other._is_gated_stream_behind
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

    def outcome(self, tokens: Tensor, sampling: SamplingDistribution, judged: Tensor | None = None) -> Outcome:
        """The reward's input for candidates (N, K) from q; `judged` is log P (N, V) under a judge, if there is one."""
        history = self.history
        log_prob = self.streams.latest.logits.gather(1, tokens) - self._log_normalizer.unsqueeze(1)
        text, lengths = self.texts()
        return Outcome(tokens, log_prob, sampling, history.newest, self._recent, text, lengths, judged)

    @torch.inference_mode()
    def accept(self, gates: Tensor, outcome: Outcome) -> None:
        """Adds the drawn tokens of an outcome (K = 1) under gates (N, 3) to streams and texts."""
        tokens = outcome.tokens[:, 0]
        self._surprisal.copy_(-outcome.log_prob[:, 0])
        self._sampling_entropy.copy_(outcome.sampling_entropy)
        self._gates.copy_(gates)
        self._steps += 1
        self.history.append(tokens)
        self.streams.advance(tokens)

    @torch.inference_mode()
    def propose_with(
        self, processor: LogitsProcessor | LogitsProcessorList
    ) -> tuple[SamplingDistribution, GateEffects]:
        """As :meth:`propose`, but a logits processor makes q from the neutral stream's logits.

        The gates count as neutral. Temperature and penalty are NaN, since they are not known. The gated stream does
        not read the tokens, see :meth:`catch_up`.
        """
        # A processor may change its input in place, and the reward still needs the logits.
        scores = processor(self.history.newest_last(), self.streams.latest.logits.clone())
        self._is_gated_stream_behind = True
        unknown = torch.full_like(self.neutral_entropy, torch.nan)
        return distribution_of(scores), GateEffects(unknown, unknown, unknown)

    def catch_up(self) -> None:
        """Updates the gated stream after :meth:`propose_with`; needed before :meth:`propose`."""
        if self._is_gated_stream_behind:
            self.streams.catch_up(self.history.lengths + self._prefix_lengths)
            self._is_gated_stream_behind = False

    @torch.inference_mode()
    def possible(self, gates: Tensor, judged: Tensor | None = None) -> Outcome:
        """Every token that could be drawn under gates (N, 3), as candidates. Nothing changes."""
        q, _ = self.propose(gates, keep=False)
        return self.outcome(q.tokens, q, judged)

    def as_tensor(self, array: NDArray[np.floating]) -> Tensor:
        """Numbers in the format and on the device of this generation."""
        return torch.as_tensor(array, dtype=self.dtype, device=self.device)

    def texts(self) -> tuple[Tensor, Tensor]:
        """Tokens (N, L) of the texts, special prefix excluded, and the length (N,) of each text."""
        return self.history.tokens, self.history.lengths


def bytes_of_row(model: PreTrainedModel, capacity: int) -> int:
    """Minimum memory [bytes] of a row: keys and values of both streams, and logits."""
    config = model.config.get_text_config()
    heads = config.num_attention_heads
    shared = (getattr(config, "num_key_value_heads", None) or heads) / heads
    cache = 4 * config.num_hidden_layers * config.hidden_size * shared * model.dtype.itemsize
    return int(capacity * cache) + 4 * config.vocab_size
