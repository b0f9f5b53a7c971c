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

_SMALLEST_LOG_PROB = math.log(1e-37)
"""Log-probability below which float32 is too inaccurate [nats]."""

_BLOCK_ELEMENTS = {"cpu": 1 << 19}
"""Number of logits per block, chosen to fit a processor's cache."""
_BLOCK_ELEMENTS_ELSEWHERE = 1 << 26


class Phi(NamedTuple):
    """The order parameter along sequences."""

    phi: Any
    """(B, T) or (T,): Φ = 1 − H/log V, 0 for a uniform and 1 for a certain prediction."""
    entropy: Any
    """(B, T) or (T,): H [nats]."""


class TokenField(NamedTuple):
    """Input of the scores: Φ, log-probability and entropy per scored token, packed to the left of each row.

    Entries beyond a row's length are 0.
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
        InvalidValueError: logits of another rank, empty, with NaN, or over fewer than two words.
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
    phi, log_prob, entropy = (torch.where(is_scored, values, 0.0) for values in (phi, log_prob, entropy))
    if bool((is_scored[:, 1:] & ~is_scored[:, :-1]).any()):
        order = is_scored.logical_not().to(torch.int8).argsort(dim=1, stable=True)  # scored tokens first
        phi, log_prob, entropy = (values.gather(1, order) for values in (phi, log_prob, entropy))
    return TokenField(phi, log_prob, entropy, is_scored.sum(dim=1))


@torch.no_grad()
def _entropy_and_log_prob(logits: Tensor, token_ids: Tensor) -> tuple[Tensor, Tensor]:
    """Entropy and log probability of the token (B, T), float64 each, of logits (B, T, V); NaN where they hold NaN."""
    shape, vocab_size = token_ids.shape, logits.shape[-1]
    rows, ids = logits.reshape(-1, vocab_size), token_ids.reshape(-1, 1)  # (B T, V), (B T, 1)
    size = max(1, _BLOCK_ELEMENTS.get(rows.device.type, _BLOCK_ELEMENTS_ELSEWHERE) // vocab_size)
    if rows.dtype == torch.float64:
        blocks = zip(rows.split(size), ids.split(size), strict=True)
        entropy, log_prob = map(torch.cat, zip(*(_published_entropy(*block) for block in blocks), strict=True))
    else:
        entropy, log_prob = _fast_entropy(rows, ids, size)
        # Words that are ruled out (logit −inf), and chosen words too unlikely for float32.
        is_hard = ~(entropy.isfinite() & (log_prob > _SMALLEST_LOG_PROB))
        for hard in is_hard.nonzero().squeeze(1).split(size) if bool(is_hard.any()) else ():
            entropy[hard], log_prob[hard] = _published_entropy(rows[hard], ids[hard])
    return entropy.view(shape), log_prob.view(shape)


def _published_entropy(rows: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """−Σ p log(p + 1e-10) and log p of the ids, of rows (R, V) and ids (R, 1)."""
    log_probs = rows.double().log_softmax(dim=1)
    probs = log_probs.exp()
    chosen = log_probs.gather(1, ids).squeeze(1)
    return -(probs * (probs + PUBLISHED_EPSILON).log()).sum(dim=1), chosen


def _fast_entropy(rows: Tensor, ids: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Entropy and log-probability for float32 and below, with one exponential per logit: H = log Z − Σ p z.

    `size` rows at a time, which stay in the processor's cache through all passes, in memory that is reserved once: new
    pages for each block would take longer than the arithmetic. What needs no vocabulary waits for the end.
    """
    prob, mean_logit = torch.empty(2, len(rows), device=rows.device).unbind()
    is_float = rows.dtype == torch.float32
    buffers = torch.empty(1 if is_float else 2, min(size, len(rows)), rows.shape[1], device=rows.device)
    places = zip(*(tensor.split(size) for tensor in (rows, ids, prob.unsqueeze(1), mean_logit)), strict=True)
    for block, chosen, block_prob, block_mean in places:
        logits = block if is_float else buffers[1, : len(block)].copy_(block)
        probs = torch.softmax(logits, dim=1, out=buffers[0, : len(block)])
        torch.gather(probs, 1, chosen, out=block_prob)
        torch.sum(probs.mul_(logits), dim=1, out=block_mean)
    log_prob = prob.double().log()
    log_normalizer = rows.gather(1, ids).squeeze(1).double() - log_prob  # log Z = z − log p, of any word
    return (log_normalizer - mean_logit).clamp_(min=0.0), log_prob


def _require_numbers(entropy: Tensor, is_used: Tensor) -> None:
    if bool((entropy.isnan() & is_used).any()):
        row, place = (entropy.isnan() & is_used).nonzero()[0].tolist()
        raise InvalidValueError("logits", "must not hold NaN or infinity", f"NaN in row {row} at token {place}")
