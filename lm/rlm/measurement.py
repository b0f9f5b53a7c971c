"""Measurements of a model on a random grammar: loss, accuracy, and excess over the exact optimum."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lm.rlm.optimum import Floors, reference_losses
from lm.rlm.tasks import Examples, Task

_BATCH = 1024


@dataclass(frozen=True)
class Measurement:
    """Measurement of a model on the examples of a :class:`Yardstick`."""

    loss: float
    """Mean surprisal of the answers [nats]."""
    accuracy: float
    """Share of answers that are the model's most probable symbol."""
    excess: float
    """Mean KL divergence of the model's answers from the exact posteriors [nats], at least 0: what its expected loss
    has above the optimum, without the noise of the answers drawn."""
    excess_by_position: tuple[float, ...]
    """Excess for each of the P answers [nats]."""
    entropy: float
    """Mean entropy of the model's answers [nats]."""


class Yardstick:
    """Examples with their exact posteriors, computed once.

    Args:
        task: task of the examples.
        examples: of the task.
    """

    def __init__(self, task: Task, examples: Examples) -> None:
        self.task = task
        self.examples = examples
        parts = [
            task.best_answers(Examples(*batch)).float()
            for batch in zip(*(tensor.split(_BATCH) for tensor in examples), strict=True)
        ]
        self.posteriors = torch.cat(parts)
        """(B, P, v)."""

    def floors(self) -> Floors:
        """Reference losses for these examples."""
        return reference_losses(self.task, self.posteriors)

    @torch.inference_mode()
    def measure(self, model: PreTrainedModel) -> Measurement:
        """Loss, accuracy and excess of a model, which is left in the mode that it was in."""
        was_training = model.training
        model.eval()
        num_answers = self.examples.answers.shape[1]
        losses, hits, divergences, entropies = [], [], [], []
        try:
            for inputs, answers, posteriors in zip(
                self.examples.inputs.split(_BATCH),
                self.examples.answers.split(_BATCH),
                self.posteriors.split(_BATCH),
                strict=True,
            ):
                logits = model(input_ids=inputs.to(model.device)).logits[:, -num_answers:]
                log_probs = logits.float().log_softmax(dim=2).cpu()  # (B, P, V)
                losses.append(-log_probs.gather(2, answers.unsqueeze(2)).squeeze(2))
                hits.append(log_probs.argmax(dim=2) == answers)
                divergences.append(divergence(posteriors, log_probs[..., : posteriors.shape[2]]))
                entropies.append(torch.special.entr(log_probs.exp()).sum(dim=2))
        finally:
            model.train(was_training)
        by_position = torch.cat(divergences).double().mean(dim=0)
        return Measurement(
            loss=float(torch.cat(losses).double().mean()),
            accuracy=float(torch.cat(hits).double().mean()),
            excess=float(by_position.mean()),
            excess_by_position=tuple(by_position.tolist()),
            entropy=float(torch.cat(entropies).double().mean()),
        )


def divergence(probs: Tensor, log_probs: Tensor) -> Tensor:
    """KL(p ‖ q) = Σ p (log p − log q) [nats] over the last axis, of p and log q (..., v)."""
    return -(torch.special.entr(probs) + probs * log_probs).sum(dim=-1)
