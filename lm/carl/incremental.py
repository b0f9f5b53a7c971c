"""The CARL reward of texts that grow token by token, equal to the reward of the text so far at each token.

The state consists of the text and its Φ, in arrays of fixed size, and a few numbers for each of 16 scales.
"""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor

from lm.carl.new_grams import GRAM_LENGTH
from lm.carl.options import CarlWeights, Composite, require_weights
from lm.carl.reward import information_of, published_reward
from lm.carl.scores import MOST_SCALES, NEUTRAL_SCORE, jumps
from lm.checks import COUNT, at_least, require_integer, require_one_of


class GrowingReward:
    """CARL rewards of N growing texts, each a prompt and its continuation; rows can be reset independently.

    Novelty is relative to the text and its prompt. All numbers are float64.

    Args:
        num_rows: number of rows N.
        capacity: maximum number of tokens of a row, prompt included.
        vocab_size: vocabulary size V.
        composite: formula that combines the scores.
        weights: weights of the three scores.
    """

    def __init__(
        self,
        num_rows: int,
        capacity: int,
        vocab_size: int,
        *,
        composite: Composite = "corrected",
        weights: CarlWeights | None = None,
    ) -> None:
        self.vocab_size = require_integer("vocab_size", vocab_size, at_least(2))
        for name, value in (("num_rows", num_rows), ("capacity", capacity)):
            require_integer(name, value, COUNT)
        self.composite = require_one_of("composite", composite, get_args(Composite))
        self.weights = require_weights(weights)
        self.counts = torch.zeros(num_rows, dtype=torch.int64)
        """(N,) number of tokens added after the prompt."""
        self.phi = torch.zeros(num_rows, capacity, dtype=torch.float64)
        """(N, L) Φ of the added tokens."""
        self._lengths = torch.zeros(num_rows, dtype=torch.int64)
        self._tokens = torch.full((num_rows, GRAM_LENGTH - 1 + capacity), -1)  # room before the first token
        self._num_new = torch.zeros(num_rows, dtype=torch.int64)
        # Sums over the tokens added: Φ p, surprisal, entropy; and over the jumps: their worth, their number.
        self._cloud, self._surprisal, self._entropy, self._worth, self._jumps = torch.zeros(
            5, num_rows, dtype=torch.float64
        ).unbind()
        # At each scale: mean and sum of squared deviations of the last whole block, and the sum of all blocks' spreads.
        self._block_mean, self._block_squares, self._spread = torch.zeros(
            3, num_rows, MOST_SCALES, dtype=torch.float64
        ).unbind()

    def begin(self, rows: Tensor, prompts: list[list[int]]) -> None:
        """Resets rows (R,) with R prompts."""
        self.counts[rows] = 0
        for name in ("_num_new", "_cloud", "_surprisal", "_entropy", "_worth", "_jumps", "_spread"):
            getattr(self, name)[rows] = 0
        self._tokens[rows] = -1
        for row, prompt in zip(rows.tolist(), prompts, strict=True):
            self._tokens[row, GRAM_LENGTH - 1 : GRAM_LENGTH - 1 + len(prompt)] = torch.tensor(prompt, dtype=torch.int64)
            self._lengths[row] = len(prompt)

    def add(self, rows: Tensor, phi: Tensor, log_prob: Tensor, entropy: Tensor, tokens: Tensor) -> None:
        """Adds one token to each of the rows.

        Args:
            rows: (R,) which rows.
            phi: (R,) Φ of the prediction that the token was chosen from.
            log_prob: (R,) of the token in it [nats].
            entropy: (R,) of the prediction [nats].
            tokens: (R,) ids.
        """
        phi, log_prob, entropy = phi.double(), log_prob.double(), entropy.double()
        counts = self.counts[rows]
        worth, is_jump = jumps(self.phi[rows, (counts - 1).clamp(min=0)], phi)
        is_jump &= counts > 0
        self._worth[rows] += worth.where(is_jump, 0.0)
        self._jumps[rows] += is_jump
        self.phi[rows, counts] = phi
        self._cloud[rows] += phi * log_prob.exp()
        self._surprisal[rows] -= log_prob
        self._entropy[rows] += entropy
        self._close_blocks(rows, phi, counts + 1)
        self._add_gram(rows, tokens)
        self.counts[rows] = counts + 1

    def state(self) -> dict[str, Tensor]:
        """State of the rows: the tensors themselves, not copies."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}

    def components(self) -> dict[str, Tensor]:
        """Components (N,) of the reward so far, by name; 0 for rows without tokens."""
        counts = self.counts.clamp(min=1).double()
        scales = 2.0 ** (torch.arange(MOST_SCALES).double() / 2)
        num_blocks = self.counts.unsqueeze(1) >> torch.arange(MOST_SCALES)  # (N, J)
        scores = (1.0 - self._spread / num_blocks.clamp(min=1)).clamp(0.0, 1.0)
        weights = scales * (num_blocks > 0)
        multiscale = (weights * scores).sum(dim=1) / weights.sum(dim=1).clamp(min=1.0)
        discontinuity = self._worth / self._jumps.clamp(min=1)
        components = {
            "multiscale": torch.where(self.counts < 2, NEUTRAL_SCORE, multiscale),
            "cloud_quality": self._cloud / counts,
            "discontinuity": torch.where(self._jumps == 0, NEUTRAL_SCORE, discontinuity),
            "information": information_of(self._surprisal / counts, self._entropy / counts, self.vocab_size),
            "novelty": self._num_new.double() / counts,
        }
        return {name: values.where(self.counts > 0, 0.0) for name, values in components.items()}

    def reward(self) -> Tensor:
        """(N,) reward so far; 0 for rows without tokens."""
        components = self.components()
        published = published_reward(components, self.weights)
        if self.composite == "published":
            return published
        return published * components["information"] * components["novelty"]

    def _close_blocks(self, rows: Tensor, phi: Tensor, counts: Tensor) -> None:
        """Two neighbouring blocks of a scale make one of the next (Chan et al. 1983): their means and squares add up.

        Args:
            rows: (R,) which rows.
            phi: (R,) of their newest tokens.
            counts: (R,) tokens of each row, the newest included.
        """
        mean, squares = phi, torch.zeros_like(phi)
        for scale in range(MOST_SCALES):
            size = 1 << scale
            self._spread[rows, scale] += (squares / size).sqrt()
            is_right = counts % (2 * size) == 0
            is_left = ~is_right
            self._block_mean[rows[is_left], scale] = mean[is_left]
            self._block_squares[rows[is_left], scale] = squares[is_left]
            rows, counts, mean, squares = rows[is_right], counts[is_right], mean[is_right], squares[is_right]
            if len(rows) == 0:
                break
            left_mean, left_squares = self._block_mean[rows, scale], self._block_squares[rows, scale]
            squares = left_squares + squares + (mean - left_mean) ** 2 * (size / 2)
            mean = (left_mean + mean) / 2

    def _add_gram(self, rows: Tensor, tokens: Tensor) -> None:
        places = self._lengths[rows] + GRAM_LENGTH - 1  # of the new token
        self._tokens[rows, places] = tokens.to(self._tokens)
        text = self._tokens[rows]  # (R, L)
        grams = text.unfold(1, GRAM_LENGTH, 1)  # (R, L - 3, 4), the k-th ends at place k + 3
        newest = grams.gather(1, (places - GRAM_LENGTH + 1)[:, None, None].expand(-1, 1, GRAM_LENGTH))  # (R, 1, 4)
        ends = torch.arange(GRAM_LENGTH - 1, text.shape[1])  # (L - 3,)
        is_repeat = ((grams == newest).all(dim=2) & (ends < places.unsqueeze(1))).any(dim=1)
        self._num_new[rows] += ~is_repeat
        self._lengths[rows] += 1
