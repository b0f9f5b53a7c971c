"""Text measures that are not rewards, and their distances to human text of the same lengths.

Intervals are the jackknife's (:func:`agents.evaluation.intervals.jackknife_interval`). A bootstrap would repeat texts,
which most of these measures (distinct-n, self-BLEU, Zipf, MAUVE) would count as repetition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from agents.episodes.episodes import Episodes
from agents.evaluation.intervals import Interval, jackknife_interval
from agents.evaluation.mauve import mauve, quantize
from agents.evaluation.ngrams import NgramTable, self_bleu
from agents.evaluation.text_comparison import Gap, towards_human
from agents.evaluation.text_measures_config import FEWEST_TEXTS, GROUPS, TextMeasuresConfig
from agents.evaluation.text_sets import TextSet, human_texts
from agents.evaluation.text_statistics import distinct
from lm.data.documents import require_documents
from lm.errors import InvalidValueError
from lm.models.bundle import Bundle
from lm.models.text_config import context_length_of
from tidal_gym.rewards.language_model_judge import load_judge

MEASURES = ("judge_loss", "distinct_1", "distinct_2", "distinct_4", "repetition_4", "self_bleu", "zipf", "mauve")
"""Names of the measures in the order of reports; see :class:`TextMeasures`."""


@dataclass(frozen=True)
class Measure:
    """A measure of a set of texts, compared with human text."""

    value: Interval
    """Measure of the texts."""
    human: float
    """Measure of the human texts."""
    distance: Interval
    """Distance to human text: |value − human|."""
    left_out: tuple[float, ...] = field(repr=False)
    """(G,) value − human without each group of texts, for :func:`compare_distances`."""

    @property
    def gap(self) -> Gap:
        """Distance of the texts from human text by this measure, as a gap."""
        return Gap(self.value.mean, self.human, np.array(self.left_out))


@dataclass(frozen=True)
class TextMeasures:
    """Eight measures of a set of texts, compared with human texts of the same lengths."""

    num_texts: int
    """Number of texts T."""
    judge_loss: Measure
    """Mean surprisal of the continuations' tokens under the judge [nats per token]."""
    distinct_1: Measure
    """Distinct tokens / tokens of the whole set (Li et al. 2016, arXiv:1510.03055)."""
    distinct_2: Measure
    """Distinct bigrams / bigrams of the whole set."""
    distinct_4: Measure
    """Distinct 4-grams / 4-grams of the whole set."""
    repetition_4: Measure
    """Mean share of a text's 4-grams that are repeated in it (seq-rep-4, Welleck et al. 2020, arXiv:1908.04319)."""
    self_bleu: Measure
    """Self-BLEU-4: mean BLEU-4 of each text against all others (Zhu et al. 2018, arXiv:1802.01886)."""
    zipf: Measure
    """Zipf coefficient: minus the slope of log frequency over log rank of tokens (arXiv:1904.09751)."""
    mauve: Measure
    """MAUVE of the judge's final hidden states at the last token (arXiv:2102.01454); 1 for human text."""


@dataclass(frozen=True)
class Reading:
    """Outputs of a judge model for T texts."""

    surprisal: NDArray[np.float64]
    """(T,) surprisal of each continuation: sum of −log P over its tokens [nats]."""
    features: NDArray[np.float32]
    """(T, D) final hidden state at each text's last token."""


def require_measurable(config: TextMeasuresConfig, bundle: Bundle) -> None:
    """Checks judge and human text before the episodes whose texts they are to measure.

    Raises:
        ModelFolderError: the judge does not exist.
        InvalidValueError: the judge has another vocabulary, or the human text cannot be read.
    """
    if config.human is not None:
        require_documents(config.human, parameters=("human", "text"))
    load_judge(config.judge, bundle, torch.float32)


def measure_episodes(episodes: Episodes, bundle: Bundle, config: TextMeasuresConfig, *, seed: int = 0) -> TextMeasures:
    """All measures of the texts of at least 64 episodes of a bundle's model.

    Raises:
        ModelFolderError: the judge does not exist.
        InvalidValueError: there are too few episodes, the judge has another vocabulary, or there is too little human
            text.
    """
    texts = TextSet.of_episodes(episodes, bundle.eos_token_id)
    human = human_texts(texts, bundle.tokenizer, config.human)
    return measure_texts(texts, human, load_judge(config.judge, bundle, torch.float32), seed=seed)


def measure_texts(texts: TextSet, human: TextSet, judge: PreTrainedModel, *, seed: int = 0) -> TextMeasures:
    """All measures of a set of texts, with 95% intervals over texts.

    Args:
        texts: at least 64 texts.
        human: human texts of the same number and lengths (:func:`agents.evaluation.text_sets.human_texts`).
        judge: causal LM with the texts' vocabulary; not the model that generated them.
        seed: seed of MAUVE's clustering.

    Raises:
        InvalidValueError: there are too few texts, or the human texts have other lengths.
    """
    lengths = texts.lengths
    if len(lengths) < FEWEST_TEXTS:
        raise InvalidValueError("texts", f"must be at least {FEWEST_TEXTS}", len(lengths))
    if human.lengths.tolist() != lengths.tolist():
        raise InvalidValueError("human", "must be as many texts, of the same lengths", f"{len(human.lengths)} texts")
    written, by_people = _Measured(texts, read_texts(judge, texts)), _Measured(human, read_texts(judge, human))
    features = written.reading.features, by_people.reading.features
    num_clusters = len(lengths) // 10
    clusters = quantize(*features, num_clusters, seed)

    def figures(kept: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        histograms = (np.bincount(labels[kept], minlength=num_clusters) / kept.sum() for labels in clusters)
        values = np.array([*written.figures(kept), mauve(*histograms)])
        return values, np.array([*by_people.figures(kept), 1.0])

    value, of_people = figures(np.ones(len(lengths), bool))
    groups = np.arange(len(lengths)) % GROUPS
    parts = [figures(groups != group) for group in range(GROUPS)]
    values, gaps = np.array([part for part, _ in parts]), np.array([part - people for part, people in parts])
    measures = {
        name: Measure(
            value=jackknife_interval(float(value[index]), values[:, index]),
            human=float(of_people[index]),
            distance=_distance(float(value[index] - of_people[index]), gaps[:, index]),
            left_out=tuple(gaps[:, index].tolist()),
        )
        for index, name in enumerate(MEASURES)
    }
    return TextMeasures(len(lengths), **measures)


def compare_distances(first: TextMeasures, second: TextMeasures) -> dict[str, Interval]:
    """Difference of the distances to human text, `first` minus `second`, by measure.

    The texts are paired: text i of both has the same prompt and random numbers.

    Raises:
        InvalidValueError: the numbers of texts differ.
    """
    if first.num_texts != second.num_texts:
        raise InvalidValueError("second", f"must be of {first.num_texts} texts, as `first`", second.num_texts)
    differences = {}
    for name in MEASURES:
        one, other = getattr(first, name), getattr(second, name)
        difference = one.distance.mean - other.distance.mean
        differences[name] = jackknife_interval(difference, towards_human(one.gap) - towards_human(other.gap))
    return differences


def _distance(gap: float, left_out: NDArray[np.floating]) -> Interval:
    """Interval of |gap|, limited to values of at least 0."""
    interval = jackknife_interval(abs(gap), left_out)
    return Interval(interval.mean, max(0.0, interval.low), interval.high)


@torch.inference_mode()
def read_texts(judge: PreTrainedModel, texts: TextSet, batch_size: int = 64) -> Reading:
    """Forward passes of the judge over all texts, prompts and continuations.

    Raises:
        InvalidValueError: a text does not fit into the judge's context.
    """
    whole = [[*prompt, *text] for prompt, text in zip(texts.prompts, texts.continuations, strict=True)]
    context = context_length_of(judge)
    if max(map(len, whole)) > context:
        rule = f"must fit into the {context} tokens of the judge's context"
        raise InvalidValueError("texts", rule, f"{max(map(len, whole))} tokens")
    surprisals, features = [], []
    for first in range(0, len(whole), batch_size):
        batch = whole[first : first + batch_size]
        lengths = torch.tensor([len(ids) for ids in batch])
        starts = torch.tensor([len(prompt) for prompt in texts.prompts[first : first + batch_size]])
        # Right padding needs no mask under causal attention: no token attends to it.
        ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(text) for text in batch], batch_first=True)
        output = judge(input_ids=ids.to(judge.device), use_cache=False, output_hidden_states=True)
        log_probs = output.logits[:, :-1].float().log_softmax(dim=-1).cpu()  # (B, L - 1, V)
        surprisal = -log_probs.gather(2, ids[:, 1:, None]).squeeze(2)
        places = torch.arange(1, ids.shape[1])
        is_measured = (places >= starts[:, None]) & (places < lengths[:, None])
        surprisals.append((surprisal * is_measured).sum(dim=1, dtype=torch.float64))
        hidden = output.hidden_states[-1].float().cpu()
        features.append(hidden[torch.arange(len(batch)), lengths - 1])
    return Reading(torch.cat(surprisals).numpy(), torch.cat(features).numpy())


class _Measured:
    """Precomputed statistics of texts, for the measures of all texts or of a subset."""

    def __init__(self, texts: TextSet, reading: Reading) -> None:
        self.reading = reading
        self._lengths = texts.lengths
        self._tables = [NgramTable(texts.continuations, n) for n in (1, 2, 3, 4)]
        self._is_long = self._lengths >= 4
        repetition = [1.0 - distinct(text, 4) for text in texts.continuations if len(text) >= 4]
        self._repetition = np.zeros(len(self._lengths))
        self._repetition[self._is_long] = repetition

    def figures(self, kept: NDArray[np.bool_]) -> Sequence[float]:
        """Measures of the kept (T,) texts in the order of `MEASURES`, without MAUVE."""
        unigrams, bigrams, _, fourgrams = self._tables
        return (
            float(self.reading.surprisal[kept].sum() / max(1, self._lengths[kept].sum())),
            unigrams.distinct(kept),
            bigrams.distinct(kept),
            fourgrams.distinct(kept),
            float(self._repetition[kept].sum() / max(1, np.count_nonzero(self._is_long & kept))),
            self_bleu(self._tables, self._lengths, kept),
            zipf_coefficient(unigrams.occurrences(kept)),
        )


def zipf_coefficient(occurrences: NDArray[np.int64]) -> float:
    """Minus the least-squares slope of log frequency over log rank, of tokens that occur; 0 for fewer than two."""
    frequencies = np.sort(occurrences[occurrences > 0])[::-1]
    if len(frequencies) < 2:
        return 0.0
    ranks = np.log(np.arange(1, len(frequencies) + 1))
    return float(-np.polyfit(ranks, np.log(frequencies), 1)[0])
