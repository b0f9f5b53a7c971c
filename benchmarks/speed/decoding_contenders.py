"""Contenders of the decoding benchmark: environment, forward passes alone, textbook environment, `generate`, PPO."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import SubprocVecEnv, VecEnv, VecMonitor, VecNormalize
from torch import Tensor
from transformers import LogitsProcessorList, RepetitionPenaltyLogitsProcessor, TemperatureLogitsWarper

from agents.episodes.sb3_adapter import VectorEnvToSB3
from agents.policy.beta_policy import BetaPolicy
from agents.training.config import TrainConfig
from agents.training.run import train
from benchmarks.speed.side_by_side import Contender
from benchmarks.speed.textbook_env import TextbookEnv
from lm.model_names import resolve
from lm.models.bundle import load_bundle, save_bundle
from lm.models.gated_transformer import GatedTransformer
from lm.models.gated_transformer_config import GatedTransformerConfig
from lm.models.reference_statistics import ReferenceStatistics
from lm.streams.opening import open_stream
from lm.tokenizers.tokenization import load_tokenizer
from tidal_gym.envs.vector_env import TidalGatingVectorEnv
from tidal_gym.rewards.rewards import Outcome

EPISODE_STEPS = 50
CONFIGS = Path(__file__).parents[2] / "configs" / "pretrain"


def make_env(model: str, num_envs: int, dtype: str, device: str, steps: int = EPISODE_STEPS) -> TidalGatingVectorEnv:
    """The environment as PPO uses it."""
    return TidalGatingVectorEnv(
        num_envs, model=model, max_episode_steps=steps, autoreset_mode="SameStep", dtype=dtype, device=device
    )


def random_actions(num_envs: int, steps: int) -> np.ndarray:
    """(steps, N, 3) uniform gates."""
    return np.random.default_rng(0).random((steps, num_envs, 3), dtype=np.float32)


def vector_env(env: TidalGatingVectorEnv, steps: int) -> Contender:
    """The environment with random actions from a fixed seed, so that tokens repeat."""
    actions = random_actions(env.num_envs, steps)

    def run() -> int:
        env.reset(seed=0)
        for action in actions:
            env.step(action)
        return steps * env.num_envs

    return run


def bare_loop(env: TidalGatingVectorEnv, steps: int) -> Contender:
    """Only the forward passes of :func:`vector_env`: both streams read the same prompts and tokens.

    Rows are reset at the same steps, since every method must read the prompts.
    """
    trace = _record(env, steps)
    strength, capacity = env.modulation.focus_strength, env._generation.history.tokens.shape[1]
    neutral, gated = (open_stream(env.bundle.model, env.num_envs, capacity) for _ in range(2))

    def run() -> int:
        for name, *tensors in trace:
            if name == "begin":
                rows, prompts, lengths = tensors
                neutral.prefill(rows, prompts, lengths)
                gated.copy_rows(neutral, rows, lengths - 1)
            else:
                newest, gates, tokens = tensors
                gated.step(newest, gates, strength * gates[:, 1])
                outputs = neutral.step(tokens)
        outputs.logits[0, 0].item()  # waits for a GPU
        return steps * env.num_envs

    return run


def _record(env: TidalGatingVectorEnv, steps: int) -> list[tuple[Any, ...]]:
    """Records the tokens that both streams read."""
    generation, step_on_device = env._generation, env._step_on_device
    trace: list[tuple[Any, ...]] = []
    begin, accept = generation.begin, generation.accept

    def recorded_begin(rows: Tensor, prompts: Tensor, lengths: Tensor, prefix_lengths: Tensor) -> None:
        trace.append(("begin", rows.clone(), prompts.clone(), lengths.clone()))
        begin(rows, prompts, lengths, prefix_lengths)

    def recorded_accept(gates: Tensor, outcome: Outcome) -> None:
        trace.append(("step", outcome.newest.clone(), gates.clone(), outcome.tokens[:, 0].clone()))
        accept(gates, outcome)

    generation.begin, generation.accept = recorded_begin, recorded_accept  # type: ignore[method-assign]
    env._step_on_device = env._transition
    try:
        vector_env(env, steps)()
    finally:
        generation.begin, generation.accept = begin, accept  # type: ignore[method-assign]
        env._step_on_device = step_on_device
    return trace


def collecting(env: TidalGatingVectorEnv, rollout_steps: int) -> Contender:
    """SB3's PPO filling its rollout buffer: policy, adapter, normalization, environment; no learning."""
    wrapped = VecNormalize(VecMonitor(VectorEnvToSB3(env)))
    ppo = PPO(BetaPolicy, wrapped, n_steps=rollout_steps, policy_kwargs={"net_arch": [128, 128]}, device="cpu")
    _, callback = ppo._setup_learn(1 << 40, _Nothing(), progress_bar=False)

    def run() -> int:
        ppo.collect_rollouts(ppo.env, callback, ppo.rollout_buffer, rollout_steps)
        return rollout_steps * env.num_envs

    return run


class _Nothing(BaseCallback):
    def _on_step(self) -> bool:
        return True


def full_ppo(model: str, dtype: str, device: str, rollouts: int) -> Contender:
    """`tidal train` with its default recipe: collecting, learning, logging, checkpoint."""
    config = TrainConfig()
    steps = rollouts * config.ppo.num_envs * config.ppo.rollout_steps
    env = replace(config.env, model=model, dtype=dtype, device=device)
    config = replace(config, env=env, total_steps=steps, checkpoint_every=steps)

    def run() -> int:
        with tempfile.TemporaryDirectory() as folder:
            train(config, Path(folder) / "run")
        return steps

    return run


def textbook(
    model: str, dtype: str, steps: int, vectorized: type[VecEnv] | None = None, num_envs: int = 1
) -> Contender:
    """The textbook's environment, alone or in SB3's vector environments."""

    def make() -> TextbookEnv:
        torch.set_num_threads(1 if vectorized is SubprocVecEnv else torch.get_num_threads())
        return TextbookEnv(model, EPISODE_STEPS, dtype)

    actions = random_actions(num_envs, steps)
    if vectorized is None:
        single = make()

        def run_alone() -> int:
            single.reset(seed=0)
            for action in actions[:, 0]:
                *_, terminated, truncated, _ = single.step(action)
                if terminated or truncated:
                    single.reset()
            return steps

        return run_alone
    env = vectorized([make] * num_envs)

    def run() -> int:
        env.seed(0)
        env.reset()
        for action in actions:
            env.step(action)
        return steps * num_envs

    return run


def transformers_generate(model: str, dtype: str, device: str, num_rows: int, steps: int) -> Contender:
    """transformers' `generate`, cached and batched, with one temperature and penalty: one stream per token."""
    bundle = load_bundle(model, dtype=dtype, device=device)
    generator = torch.Generator().manual_seed(0)
    prompts = torch.randint(1, bundle.vocab_size, (num_rows, 8), generator=generator).to(device)
    mask = torch.ones_like(prompts)
    processors = LogitsProcessorList([RepetitionPenaltyLogitsProcessor(1.3), TemperatureLogitsWarper(0.9)])
    settings = {"do_sample": True, "top_k": 40, "max_new_tokens": steps, "min_new_tokens": steps, "pad_token_id": 0}

    def run() -> int:
        with torch.inference_mode():
            ids = bundle.model.generate(prompts, attention_mask=mask, logits_processor=processors, **settings)
        return ids[:, prompts.shape[1] :].numel()

    return run


def random_bundle(folder: Path, preset: str) -> str:
    """A bundle of a preset's shape with random weights, and the bundled tokenizer; returns its folder."""
    shape = yaml.safe_load((CONFIGS / f"{preset}.yaml").read_text(encoding="utf-8"))["model"]
    tokenizer = load_tokenizer(resolve("tidal-tiny"))
    config = GatedTransformerConfig(
        vocab_size=50257,
        max_position_embeddings=shape["context_length"],
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        **{name: value for name, value in shape.items() if name not in ("family", "context_length")},
    )
    tokens = np.random.default_rng(0).integers(0, config.vocab_size, 100_000)
    statistics = ReferenceStatistics.from_tokens(tokens, config.vocab_size, human_entropy=3.0)
    save_bundle(folder, GatedTransformer(config), tokenizer, statistics)
    return str(folder)
