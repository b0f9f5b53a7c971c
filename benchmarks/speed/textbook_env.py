"""A straightforward implementation of the environment: one episode, no cache, reward in Python.

Every step runs the model over the whole context, twice: once with the gates of every token so far, for the next token,
and once without, for reward and observation. Tests require the rewards and observations of the fast environment; the
two implementations share only the model.
"""

from __future__ import annotations

import math
from itertools import pairwise

import gymnasium
import numpy as np
import torch
from torch import Tensor

from lm.models.bundle import load_bundle
from tidal_gym.envs.text.prompts import read_openings, tokenize_openings

LARGEST_SURPRISAL = math.log(100)


class TextbookEnv(gymnasium.Env):
    """The tidal gating environment with its default settings."""

    def __init__(self, model: str = "tidal-tiny", max_episode_steps: int = 50, dtype: str = "auto") -> None:
        self.bundle = load_bundle(model, dtype=dtype)
        self.limit = max_episode_steps
        self.prompts = tokenize_openings(
            read_openings("train"), self.bundle.tokenizer, context_length=self.bundle.context_length
        )
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (64,), np.float32)
        self.action_space = gymnasium.spaces.Box(0.0, 1.0, (3,), np.float32)
        statistics = self.bundle.statistics
        self.bigrams = dict(zip(statistics.bigram_keys.tolist(), statistics.bigram_counts.tolist(), strict=True))
        self.unigrams = statistics.unigram_counts.tolist()
        self.human_entropy = statistics.human_entropy

    def reset(self, *, seed=None, options=None):
        """Draw a prompt."""
        super().reset(seed=seed)
        self.text = list(self.prompts.draw(self.np_random))
        self.uniforms = self.np_random.random(self.limit)
        self.actions: list[np.ndarray] = []
        self.sampling_entropy = self.human_entropy
        before, _ = self.run(self.text[:-1])
        self.surprisal = -before.log_softmax(0)[self.text[-1]].item()
        self.logits, self.hidden = self.run(self.text)
        return self.observe(), {}

    def step(self, action):
        """Draw a token under the action."""
        self.actions.append(action)
        creativity, _, stability = action.tolist()
        logits, _ = self.run(self.text, np.array(self.actions))
        for token in set(self.text):
            penalty = 1 + 1.5 * stability
            logits[token] = logits[token] / penalty if logits[token] > 0 else logits[token] * penalty
        kept = logits.topk(40).indices.sort().values
        q = (logits[kept] / (0.5 + creativity)).softmax(0)
        place = torch.searchsorted(q.cumsum(0), float(self.uniforms[len(self.actions) - 1]), right=True)
        token = int(kept[min(int(place), 39)])
        self.sampling_entropy = entropy(q)

        reward = self.reward(token)
        self.surprisal = -self.logits.log_softmax(0)[token].item()
        self.text.append(token)
        self.logits, self.hidden = self.run(self.text)
        is_over = token == self.bundle.eos_token_id
        return self.observe(), reward, is_over, len(self.actions) >= self.limit, {"token": token}

    def reward(self, token: int) -> float:
        """Perplexity, diversity, repetition and coherence of a token that follows the text."""
        log_prob = self.logits.log_softmax(0)[token].item()
        perplexity = -min(-log_prob, LARGEST_SURPRISAL) / LARGEST_SURPRISAL
        diversity = math.exp(-0.5 * ((self.sampling_entropy - self.human_entropy) / (self.human_entropy / 2)) ** 2)
        count = self.text[-10:].count(token)
        recurrence = 0.25 * count if count <= 3 else 0.75 + 0.05 * (count - 3)
        repetition = -min(1.0, recurrence + 0.3 * (token == self.text[-1]))
        size = self.bundle.vocab_size
        pairs = self.bigrams.get(self.text[-1] * size + token, 0)
        log_bigram = math.log((pairs + 1) / (self.unigrams[self.text[-1]] + size))
        coherence = min(max((log_bigram + math.log(size)) / math.log(size), 0.0), 1.0)
        return 0.4 * perplexity + 0.3 * diversity + 0.2 * repetition + 0.1 * coherence

    def observe(self) -> np.ndarray:
        """The observation (64,)."""
        logits, text, human = self.logits, self.text, self.human_entropy
        p = logits.softmax(0)
        penalized = logits.clone()
        for token in set(text):
            penalized[token] = logits[token] / 2.5 if logits[token] > 0 else logits[token] * 2.5
        bigrams = list(pairwise(text))
        chunks = torch.tensor_split(self.hidden, 24)
        previous = self.actions[-1].tolist() if self.actions else [0.5, 0.0, 0.0]
        numbers = [entropy((logits / temperature).softmax(0)) / human - 1 for temperature in (0.5, 1.0, 1.5)]
        numbers += [entropy(penalized.softmax(0)) / human - 1, p.max().item()]
        numbers += [sum(p[token].item() for token in set(some)) for some in (text, text[-10:])]
        numbers += [1 - len(set(text)) / len(text), len(set(bigrams)) / len(bigrams) if bigrams else 1.0]
        numbers += [min(self.surprisal, LARGEST_SURPRISAL) / LARGEST_SURPRISAL]
        numbers += [chunk.mean().item() for chunk in chunks]
        numbers += [chunk.std(correction=0).item() for chunk in chunks]
        context_use = (len(self.prompts.prefix) + len(text)) / self.bundle.context_length
        numbers += [len(self.actions) / self.limit, context_use, *previous, self.sampling_entropy / human - 1]
        return np.array(numbers, np.float32)

    def run(self, text: list[int], actions: np.ndarray | None = None) -> tuple[Tensor, Tensor]:
        """Logits and hidden state after the text, whose last tokens are read with gates."""
        ids = torch.tensor([[*self.prompts.prefix, *text]])
        gated = {}
        if actions is not None:
            gates = torch.tensor([0.5, 0.0, 0.0]).repeat(1, ids.shape[1], 1)
            gates[0, ids.shape[1] - len(actions) :] = torch.as_tensor(actions)
            gated = {"gate_signals": gates, "focus_bias": 2.0 * gates[..., 1]}
        output = self.bundle.model(ids, output_hidden_states=True, logits_to_keep=1, use_cache=False, **gated)
        return output.logits[0, -1].float().clone(), output.hidden_states[-1][0, -1].float()


def entropy(probs: Tensor) -> float:
    """Entropy [nats]."""
    return torch.special.entr(probs).sum().item()
