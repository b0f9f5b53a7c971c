"""The CARL reward of whole sequences: the published composite, and a corrected one.

The published composite rewards high and even Φ, independent of the text: uniform noise gets 0.60, a model collapsed to
one certain token 0.90, a correct model with mixed confidence 0.52. The corrected one multiplies it by two numbers in
[0, 1]::

    corrected = published · information · novelty
    information = clip(1 − max(S, H)/log V, 0, 1)

S is the mean surprisal of the completion and H the mean entropy of the predictions [nats]. Information is the relative
reduction of the surprisal below log V, that of uniform guesses: 0 for improbable tokens (noise) and for uniform logits.
Since typical text of a model has S near H (arXiv:2202.00666), more probable text gets no higher score. Novelty
(:mod:`lm.carl.new_grams`) is the share of new 4-grams: 0 for loops, for copies of the prompt, and for completions of a
group that are copies of one another.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, get_args

import torch
from torch import Tensor

from lm.carl.field import TokenField, token_field
from lm.carl.inputs import Array, as_tensor, read_logits, read_mask, read_token_ids
from lm.carl.new_grams import novelty_of
from lm.carl.options import Alignment, CarlWeights, Composite, require_weights
from lm.carl.phases import PhaseAdaptiveWeights
from lm.carl.scores import cloud_quality, discontinuity_score, mean, multiscale_coherence
from lm.errors import InvalidValueError


def carl_reward(
    logits: Array,
    token_ids: Array,
    *,
    alignment: Alignment = "shifted",
    composite: Composite | None = None,
    mask: Array | None = None,
    groups: Array | None = None,
    weights: CarlWeights | PhaseAdaptiveWeights | None = None,
) -> tuple[Any, dict[str, Any]]:
    """The CARL reward of sequences, and its components.

    One sequence in NumPy gives floats; a batch, or tensors, give arrays or tensors (B,).

    Args:
        logits: (T, V) or (B, T, V) logits of a model for the tokens.
        token_ids: (T,) or (B, T), prompt and completion.
        alignment: ``"shifted"`` scores a token with the logits of the previous position, which predict it; the first
            token of a row is not scored. ``"paired"`` is the published form: with the logits of its own position.
        composite: ``"corrected"`` or ``"published"``; by default published for ``paired`` and corrected for
            ``shifted``.
        mask: (T,) or (B, T), True for the tokens of the completion, which are contiguous; None: all.
        groups: (B,) integers; rows with equal numbers have the same prompt. None: all rows have the same prompt.
        weights: weights of the three scores; adaptive weights are updated with this batch afterwards.

    Returns:
        The reward, in [0, 1] while the weights sum to 1, and the components ``multiscale``, ``cloud_quality``,
        ``discontinuity``, ``phi_mean``, ``phi_std`` and ``entropy_mean`` [nats]; with the corrected composite also
        ``published``, ``information`` and ``novelty``.

    Raises:
        InvalidValueError: logits of another rank, with NaN, or over fewer than two words; ids outside the vocabulary or
            of another length; a row without a token to score; an unknown alignment or composite.
    """
    if composite not in (None, *get_args(Composite)):
        raise InvalidValueError("composite", f"must be one of {', '.join(get_args(Composite))}", repr(composite))
    field = token_field(logits, token_ids, alignment=alignment, mask=mask)
    tensor, form = read_logits(logits)
    applied = weights.weights if isinstance(weights, PhaseAdaptiveWeights) else require_weights(weights)
    components = published_components(field)
    reward = published_reward(components, applied)
    if (composite or ("published" if alignment == "paired" else "corrected")) == "corrected":
        ids, is_completion = read_token_ids(token_ids, tensor, form), read_mask(mask, tensor, form)
        components |= {
            "published": reward,
            "information": information(field, tensor.shape[-1]),
            "novelty": novelty_of(ids, is_completion, _groups(groups, ids)),
        }
        reward = reward * components["information"] * components["novelty"]
    if isinstance(weights, PhaseAdaptiveWeights):
        weights.observe(field.phi, field.is_token)
    return form.give(reward), form.give_all(components)


def published_components(field: TokenField) -> dict[str, Tensor]:
    """The six published components (B,) of each row."""
    lengths = field.lengths
    phi_mean = mean(field.phi, lengths)
    return {
        "multiscale": multiscale_coherence(field.phi, lengths),
        "cloud_quality": cloud_quality(field.phi, field.log_prob.exp(), lengths),
        "discontinuity": discontinuity_score(field.phi, lengths),
        "phi_mean": phi_mean,
        "phi_std": mean((field.phi - phi_mean.unsqueeze(1)) ** 2, lengths).sqrt(),
        "entropy_mean": mean(field.entropy, lengths),
    }


def published_reward(components: Mapping[str, Tensor], weights: CarlWeights) -> Tensor:
    """The weighted sum (B,) of the three scores."""
    return (
        weights.multiscale * components["multiscale"]
        + weights.cloud_quality * components["cloud_quality"]
        + weights.discontinuity * components["discontinuity"]
    )


def information(field: TokenField, vocab_size: int) -> Tensor:
    """Information clip(1 − max(S, H)/log V, 0, 1) of each row (B,)."""
    return information_of(-mean(field.log_prob, field.lengths), mean(field.entropy, field.lengths), vocab_size)


def information_of(surprisal: Tensor, entropy: Tensor, vocab_size: int) -> Tensor:
    """Information of mean surprisals and mean entropies [nats]."""
    return (1.0 - torch.maximum(surprisal, entropy) / math.log(vocab_size)).clamp(0.0, 1.0)


def _groups(groups: Array | None, ids: Tensor) -> Tensor:
    if groups is None:
        return torch.zeros(len(ids), dtype=torch.int64, device=ids.device)
    tensor = as_tensor("groups", groups)[0].long().to(ids.device)
    if tuple(tensor.shape) != (len(ids),):
        raise InvalidValueError("groups", f"must hold a number for each of {len(ids)} rows", f"{tuple(tensor.shape)}")
    return tensor
