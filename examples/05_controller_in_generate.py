"""Use a controller as a decoding method of transformers: `model.generate(custom_generate=...)`.

You learn that a controller is a folder, that it needs no environment to act, and that `GatedGeneration` computes the
same observations as in training. `generate` handles lengths, stopping and padding.
"""

import tempfile

import torch
from jsonargparse import auto_cli

from agents import Agent, Controller, EnvConfig, GatedGeneration, Neutral, TrainConfig, train
from lm.models.bundle import load_bundle

PROMPTS = ["Once upon a time there was a", "The dog looked at the big red"]


def main(
    model: str = "tidal-tiny", controller: str | None = None, steps: int = 100_000, tokens: int = 50, seed: int = 0
) -> None:
    """Continue two prompts, with plain sampling and with a controller.

    Args:
        model: a bundled name or a folder.
        controller: folder of a controller, as written by `tidal train`; None: train one first.
        steps: env steps of that training.
        tokens: number of tokens to draw.
        seed: seed of the sampling.
    """
    bundle = load_bundle(model)
    inputs = bundle.tokenizer(PROMPTS, return_tensors="pt", padding=True, padding_side="left")
    inputs.pop("token_type_ids", None)

    def continue_with(agent: Agent) -> list[str]:
        torch.manual_seed(seed)  # the same random numbers for every agent
        decoding = GatedGeneration(agent, bundle.statistics.human_entropy)
        ids = bundle.model.generate(**inputs, max_new_tokens=tokens, custom_generate=decoding)
        return bundle.tokenizer.batch_decode(ids, skip_special_tokens=True)

    for name, agent in {"plain": Neutral(), "controlled": _controller(controller, model, steps)}.items():
        for text in continue_with(agent):
            print(f"{name}: {text!r}")


def _controller(folder: str | None, model: str, steps: int) -> Controller:
    if folder is not None:
        return Controller.load(folder)
    with tempfile.TemporaryDirectory() as run:
        return train(TrainConfig(env=EnvConfig(model=model), total_steps=steps), run, overwrite=True)


if __name__ == "__main__":
    auto_cli(main)
