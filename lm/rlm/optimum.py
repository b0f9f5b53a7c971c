"""The optimal loss on a random grammar, and other reference losses."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lm.rlm.tasks import Task


@dataclass(frozen=True)
class Floors:
    """Reference losses for comparison with a model's loss, means over the answers of an example [nats]."""

    optimum: float
    """Mean entropy of the exact posteriors of the test examples: no model can have a smaller expected loss."""
    optimum_standard_error: float
    """Standard error of `optimum` as an estimate for all sentences."""
    bigram: float
    """Exact loss of a model that reads one token."""
    unigram: float
    """Exact loss of a model that predicts the marginal frequencies."""
    uniform: float
    """Loss of uniform guesses, ln v."""
    best_accuracy: float
    """Maximum expected accuracy: mean largest probability of the exact posteriors."""


def reference_losses(task: Task, posteriors: Tensor) -> Floors:
    """Reference losses of a task for examples with the exact posteriors (B, P, v)."""
    entropies = torch.special.entr(posteriors).sum(dim=2).mean(dim=1).double()  # (B,)
    return Floors(
        optimum=float(entropies.mean()),
        optimum_standard_error=float(entropies.std() / math.sqrt(len(entropies))),
        bigram=float(task.bigram_loss().mean()),
        unigram=float(task.unigram_loss().mean()),
        uniform=math.log(task.grammar.vocab_size),
        best_accuracy=float(posteriors.amax(dim=2).mean()),
    )
