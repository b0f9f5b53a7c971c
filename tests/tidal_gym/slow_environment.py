"""The environment written a second time: one episode, numpy in float64, every number recomputed from the whole text.

Nothing here is shared with the package but the model itself, which is run without a cache.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch

C = math.log(100.0)


class SlowEpisode:
    """One episode from given prompt tokens and uniforms; `step` returns the reward, `observation` the 64 numbers."""

    def __init__(self, bundle, prefix, prompt, uniforms, limit, *, base_penalty=1.0, focus_strength=2.0, top_k=40):
        self.model, self.statistics = bundle.model, bundle.statistics
        self.context, self.prefix, self.text = bundle.context_length, list(prefix), list(prompt)
        self.uniforms, self.limit = uniforms, limit
        self.base_penalty, self.focus_strength, self.top_k = base_penalty, focus_strength, top_k
        self.prompt_length, self.actions = len(prompt), []
        self.last_entropy = self.statistics.human_entropy
        self._runs = {}
        keys, counts = self.statistics.bigram_keys.tolist(), self.statistics.bigram_counts.tolist()
        self._bigrams = dict(zip(keys, counts, strict=True))

    def step(self, action, token=None):
        """Draws a token, or takes the one that is given."""
        q, tokens = self.sampling_distribution(action)
        if token is None:
            place = int(np.searchsorted(np.cumsum(q), self.uniforms[len(self.actions)], side="right"))
            token = tokens[min(place, len(tokens) - 1)]
        terms = self.terms(token, q)
        self.actions.append(action)
        self.text.append(token)
        self.last_entropy = entropy(q)
        return token, terms

    def expected_reward(self, action):
        q, tokens = self.sampling_distribution(action)
        weights = {"perplexity": 0.4, "diversity": 0.3, "repetition": 0.2, "coherence": 0.1}
        rewards = [sum(weights[name] * value for name, value in self.terms(token, q).items()) for token in tokens]
        return float(np.dot(q, rewards))

    def sampling_distribution(self, action):
        """q and its tokens, in the order of the vocabulary."""
        creativity, _, stability = action
        penalty = self.base_penalty * (1 + 1.5 * stability)
        logits = self.logits([*self.actions, action]).copy()
        for token in set(self.text):
            logits[token] = logits[token] / penalty if logits[token] > 0 else logits[token] * penalty
        kept = np.sort(np.argsort(-logits)[: self.top_k])
        return softmax(logits[kept] / (0.5 + creativity)), kept.tolist()

    def terms(self, token, q):
        """The four terms, from p alone but for the diversity."""
        p, text, human = softmax(self.logits()), self.text, self.statistics.human_entropy
        count = text[-10:].count(token)
        recurrence = {0: 0.0, 1: 0.25, 2: 0.5}.get(count, 0.75 + 0.05 * (count - 3))
        vocabulary = len(self.statistics.unigram_counts)
        pair = text[-1] * vocabulary + token
        log_bigram = math.log(
            (self._bigrams.get(pair, 0) + 1) / (int(self.statistics.unigram_counts[text[-1]]) + vocabulary)
        )
        return {
            "perplexity": -min(-math.log(p[token]), C) / C,
            "diversity": math.exp(-0.5 * ((entropy(q) - human) / (human / 2)) ** 2),
            "repetition": -min(1.0, recurrence + (0.3 if token == text[-1] else 0.0)),
            "coherence": min(max((log_bigram + math.log(vocabulary)) / math.log(vocabulary), 0.0), 1.0),
        }

    def observation(self):
        logits, text, human = self.logits(), self.text, self.statistics.human_entropy
        p, words, recent = softmax(logits), set(text), set(text[-10:])
        penalized = logits.copy()
        for token in words:
            strongest = self.base_penalty * 2.5
            penalized[token] = logits[token] / strongest if logits[token] > 0 else logits[token] * strongest
        pairs = list(itertools.pairwise(text))
        surprisal = -math.log(softmax(self.run(self.prefix + text[:-1])[0][-1])[text[-1]])
        chunks = np.array_split(self.run(self.prefix + text)[1][-1], 24)
        creativity, focus, stability = self.actions[-1] if self.actions else (0.5, 0.0, 0.0)
        return np.array(
            [
                *(entropy(softmax(logits / temperature)) / human - 1 for temperature in (0.5, 1.0, 1.5)),
                entropy(softmax(penalized)) / human - 1,
                p.max(),
                sum(p[token] for token in words),
                sum(p[token] for token in recent),
                1 - len(words) / len(text),
                len(set(pairs)) / len(pairs) if pairs else 1.0,
                min(surprisal, C) / C,
                *(chunk.mean() for chunk in chunks),
                *(chunk.std() for chunk in chunks),
                len(self.actions) / self.limit,
                (len(self.prefix) + len(text)) / self.context,
                creativity,
                focus,
                stability,
                self.last_entropy / human - 1,
            ]
        )

    def logits(self, actions=None):
        """Of the next token: neutral, or with the last len(actions) tokens read under actions."""
        ids = self.prefix + self.text
        if actions is None:
            return self.run(ids)[0][-1]
        gates = np.tile([0.5, 0.0, 0.0], (len(ids), 1))
        gates[len(ids) - len(actions) :] = actions
        return self.run(ids, gates)[0][-1]

    def run(self, ids, gates=None):
        """Logits and final hidden states of all tokens, without a cache."""
        key = (tuple(ids), None if gates is None else gates.tobytes())
        if key not in self._runs:
            self._runs[key] = self._forward(ids, gates)
        return self._runs[key]

    def _forward(self, ids, gates):
        gated = {}
        if gates is not None:
            signals = torch.tensor(gates, dtype=torch.float64)[None]
            gated = {"gate_signals": signals, "focus_bias": signals[..., 1] * self.focus_strength}
        output = self.model(input_ids=torch.tensor([ids]), output_hidden_states=True, **gated)
        return output.logits[0].double().numpy(), output.hidden_states[-1][0].double().numpy()


def softmax(logits):
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def entropy(probs):
    return float(-sum(p * math.log(p) for p in probs if p > 0))
