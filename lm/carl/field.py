"""The order parameter Φ of every token, and the probability of the tokens that were chosen."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor

from lm.carl.inputs import Array, read_logits, read_mask, read_token_ids, require_in_vocabulary, require_scored
from lm.carl.options import Alignment
from lm.errors import InvalidValueError

PUBLISHED_EPSILON = 1e-10
"""Added to probabilities inside the published form's logarithm."""

_SMALLEST_PROBABILITY = 1e-37
"""Below this, float32 holds a probability with too few digits for its logarithm."""

_BLOCK_ELEMENTS = {"cpu": 1 << 20}
"""Logits worked on at a time: few enough for a processor's cache."""
_BLOCK_ELEMENTS_ELSEWHERE = 1 << 26


class Phi(NamedTuple):
    """The order parameter along sequences."""

    phi: Any
    """(B, T) or (T,): Φ = 1 − H/log V, 0 for a uniform and 1 for a certain prediction."""
    entropy: Any
    """(B, T) or (T,): H [nats]."""


class TokenField(NamedTuple):
    """What the scores look at: one number of each kind per scored token, packed to the left of each row.

    Beyond a row's length all is 0.
    """

    phi: Tensor
    """(B, T) float64, Φ of the prediction that the token is scored with."""
    log_prob: Tensor
    """(B, T) float64, log probability of the token in it [nats]."""
    entropy: Tensor
    """(B, T) float64, its entropy [nats]."""
    lengths: Tensor
    """(B,) scored tokens, at least 1."""

    @property
    def is_token(self) -> Tensor:
        """(B, T) bool, True for scored tokens."""
        return torch.arange(self.phi.shape[1], device=self.phi.device) < self.lengths.unsqueeze(1)


def compute_phi(logits: Array) -> Phi:
    """Φ = 1 − H/log V of predictions, and their entropies H, with the published form's 1e-10 inside the logarithm.

    In float64 this is the published formula to the last digits. In lower precision the 1e-10 is left out, which moves Φ
    by less than 1e-10 V/log V.

    Args:
        logits: (T, V) or (B, T, V).

    Raises:
        InvalidValueError: logits of another rank, with NaN, or over fewer than two words.
    """
    tensor, form = read_logits(logits)
    ids = tensor.new_zeros(tensor.shape[:2], dtype=torch.int64)
    entropy, _ = _entropy_and_log_prob(tensor, ids)
    _require_numbers(entropy, torch.ones_like(ids, dtype=torch.bool))
    return Phi(form.give(1.0 - entropy / math.log(tensor.shape[-1])), form.give(entropy))


def token_field(
    logits: Array, token_ids: Array, *, alignment: Alignment = "shifted", mask: Array | None = None
) -> TokenField:
    """Φ, log probability and entropy of every scored token.

    The largest intermediate is a block of the vocabulary's probabilities for a few hundred tokens.

    Args:
        logits: (T, V) or (B, T, V) of a model that read the tokens, a row of them for each token.
        token_ids: (T,) or (B, T). Where ``shifted``, the first one has no logits before it and is never scored: put the
            prompt before a completion, and mask it.
        alignment: which logits score a token.
        mask: (T,) or (B, T), True for the tokens to score. The others are context or padding and may hold any number.

    Raises:
        InvalidValueError: logits of another rank, with NaN, or over fewer than two words; ids outside the vocabulary or
            of another length; a row without a token to score; an unknown alignment.
    """
    if alignment not in get_args(Alignment):
        raise InvalidValueError("alignment", f"must be one of {', '.join(get_args(Alignment))}", repr(alignment))
    tensor, form = read_logits(logits)
    ids, is_scored = read_token_ids(token_ids, tensor, form), read_mask(mask, tensor, form)
    if alignment == "shifted":
        # The last row of logits is about a token that is not there. It is computed all the same: what is left of a
        # batch without its last column is not one block of memory.
        nothing = torch.zeros_like(is_scored[:, :1])
        is_scored = torch.cat((is_scored[:, 1:], nothing), dim=1)
        ids = torch.cat((ids[:, 1:], nothing.long()), dim=1)
    require_scored(is_scored)
    require_in_vocabulary(ids, is_scored, tensor.shape[-1])
    entropy, log_prob = _entropy_and_log_prob(tensor, ids.where(is_scored, 0))
    _require_numbers(entropy, is_scored)
    phi = 1.0 - entropy / math.log(tensor.shape[-1])
    order = is_scored.logical_not().to(torch.int8).argsort(dim=1, stable=True)  # scored tokens first
    phi, log_prob, entropy = (
        torch.where(is_scored, values, 0.0).gather(1, order) for values in (phi, log_prob, entropy)
    )
    return TokenField(phi, log_prob, entropy, is_scored.sum(dim=1))


@torch.no_grad()
def _entropy_and_log_prob(logits: Tensor, token_ids: Tensor) -> tuple[Tensor, Tensor]:
    """Entropy and log probability of the token (B, T), float64 each, of logits (B, T, V); NaN where they hold NaN."""
    shape, vocab_size = token_ids.shape, logits.shape[-1]
    rows, ids = logits.reshape(-1, vocab_size), token_ids.reshape(-1, 1)  # (B T, V), (B T, 1)
    entropy = torch.empty(len(rows), dtype=torch.float64, device=rows.device)
    log_prob = torch.empty_like(entropy)
    size = max(1, _BLOCK_ELEMENTS.get(rows.device.type, _BLOCK_ELEMENTS_ELSEWHERE) // vocab_size)
    # One piece of memory for all blocks: new pages for each would take longer than the arithmetic.
    scratch = torch.empty(min(size, len(rows)), vocab_size, device=rows.device)
    for start in range(0, len(rows), size):
        block = slice(start, start + size)
        if rows.dtype == torch.float64:
            entropy[block], log_prob[block] = _published_entropy(rows[block], ids[block])
        else:
            entropy[block], log_prob[block] = _fast_entropy(rows[block], ids[block], scratch)
    return entropy.view(shape), log_prob.view(shape)


def _published_entropy(rows: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """−Σ p log(p + 1e-10) and log p of the ids, of rows (R, V) and ids (R, 1)."""
    log_probs = rows.double().log_softmax(dim=1)
    probs = log_probs.exp()
    chosen = log_probs.gather(1, ids).squeeze(1)
    return -(probs * (probs + PUBLISHED_EPSILON).log()).sum(dim=1), chosen


def _fast_entropy(rows: Tensor, ids: Tensor, scratch: Tensor) -> tuple[Tensor, Tensor]:
    """The same for float32 and below, with one exponential per logit and no logarithm: H = log Z − Σ p z."""
    rows = rows.float()
    probs = torch.softmax(rows, dim=1, out=scratch[: len(rows)])
    prob, logit = probs.gather(1, ids).squeeze(1).double(), rows.gather(1, ids).squeeze(1).double()
    mean_logit = probs.mul_(rows).sum(dim=1).double()
    log_prob = prob.log()
    entropy = (logit - log_prob) - mean_logit  # log Z = z − log p, of any word
    # Words that are ruled out (logit −inf), and chosen words too unlikely for float32.
    is_hard = ~(entropy.isfinite() & (prob > _SMALLEST_PROBABILITY))
    if bool(is_hard.any()):
        entropy[is_hard], log_prob[is_hard] = _published_entropy(rows[is_hard], ids[is_hard])
    return entropy.clamp_(min=0.0), log_prob


def _require_numbers(entropy: Tensor, is_used: Tensor) -> None:
    if bool((entropy.isnan() & is_used).any()):
        row, place = (entropy.isnan() & is_used).nonzero()[0].tolist()
        raise InvalidValueError("logits", "must not hold NaN or infinity", f"NaN in row {row} at token {place}")
