"""Progress note of a training run."""

from __future__ import annotations

from agents.training.learning_curve import TrainingProgress


def training_note(point: TrainingProgress) -> str:
    """Text with reward, cost, speed and mean gates (creativity, focus, stability) at a point of the learning curve."""
    reward = "" if point.episode_reward is None else f"reward {point.episode_reward:.2f}  "
    if point.episode_cost is not None:
        reward += f"cost {point.episode_cost:.2f}  "
    if point.multiplier is not None:
        reward += f"λ {point.multiplier:.2f}  "
    gates = " ".join(f"{mean:.2f}" for mean in point.gate_means)
    return f"{reward}{point.step / point.seconds:,.0f} steps/s  gates {gates}"
