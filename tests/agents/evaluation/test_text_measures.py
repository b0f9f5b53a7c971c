"""The eight measures: by hand, the slow way, and what they say of texts that are known to be alike or not."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch

from agents.baselines.baselines import Fixed, Neutral
from agents.episodes.env_config import EnvConfig
from agents.evaluation.evaluation import evaluate
from agents.evaluation.intervals import bootstrap_mean, jackknife_interval
from agents.evaluation.ngrams import NgramTable, self_bleu
from agents.evaluation.text_measures import (
    MEASURES,
    TextMeasures,
    compare_distances,
    measure_texts,
    read_texts,
    zipf_coefficient,
)
from agents.evaluation.text_measures_config import TextMeasuresConfig
from agents.evaluation.text_sets import BUNDLED_HUMAN_TEXT, TextSet, human_texts
from agents.evaluation.text_statistics import distinct
from lm.data.documents import read_documents
from lm.errors import InvalidValueError
from lm.models.bundle import load_bundle
from lm.tokenizers.tokenization import load_tokenizer


def random_texts(seed: int, num_texts: int = 96, power: float = 1.5) -> TextSet:
    """Texts of 4 to 20 tokens, the frequent ones more frequent the higher the power."""
    lengths = np.random.default_rng(0).integers(4, 21, num_texts)
    generator = np.random.default_rng(seed)
    texts = [tuple((1 + 280 * generator.random(length) ** power).astype(int).tolist()) for length in lengths]
    return TextSet(((0, 5),) * num_texts, tuple(texts))


@pytest.fixture(scope="module")
def judge(tiny_model: str) -> torch.nn.Module:
    return load_bundle(tiny_model).model


def test_intervals_of_a_mean_agree() -> None:
    """For a mean the grouped jackknife and the bootstrap estimate the same error."""
    values = np.random.default_rng(0).exponential(size=512)
    left_out = np.array([np.delete(values, np.arange(group, 512, 32)).mean() for group in range(32)])
    jackknife, bootstrap = jackknife_interval(values.mean(), left_out), bootstrap_mean(values)
    assert jackknife.high - jackknife.low == pytest.approx(bootstrap.high - bootstrap.low, rel=0.3)
    assert jackknife.low < bootstrap.mean < jackknife.high


def test_jackknife_by_hand() -> None:
    """Four groups: variance 3/4 (9/4 + 1/4 + 1/4 + 9/4), and Student's t of 3 degrees is 3.182."""
    interval = jackknife_interval(10.0, np.array([8.5, 9.5, 10.5, 11.5]))
    assert interval.high - 10.0 == pytest.approx(3.182446 * math.sqrt(0.75 * 5.0))
    assert interval.low == pytest.approx(20.0 - interval.high)


def test_zipf_of_a_power_law() -> None:
    ranks = np.arange(1, 200)
    assert zipf_coefficient((1e9 / ranks**1.3).astype(np.int64)) == pytest.approx(1.3, abs=1e-3)
    assert zipf_coefficient(np.array([0, 4, 4, 0, 4])) == pytest.approx(0.0)
    assert zipf_coefficient(np.array([9])) == 0.0


def test_reading_the_slow_way(judge: torch.nn.Module) -> None:
    texts = TextSet(((0, 5, 9), (0,), (0, 7)), ((3, 4), (1, 2, 3, 4, 5), ()))
    reading = read_texts(judge, texts, batch_size=2)
    for row, (prompt, text) in enumerate(zip(texts.prompts, texts.continuations, strict=True)):
        output = judge(torch.tensor([[*prompt, *text]]), output_hidden_states=True)
        log_probs = output.logits[0].log_softmax(dim=1)
        expected = -sum(float(log_probs[len(prompt) + place - 1, token]) for place, token in enumerate(text))
        assert reading.surprisal[row] == pytest.approx(expected, abs=1e-4)
        np.testing.assert_allclose(reading.features[row], output.hidden_states[-1][0, -1].numpy(), atol=1e-4)


def test_values_the_slow_way(judge: torch.nn.Module) -> None:
    texts, human = random_texts(1), random_texts(2, power=1.0)
    measures = measure_texts(texts, human, judge)
    tokens = [token for text in texts.continuations for token in text]
    assert measures.judge_loss.value.mean == pytest.approx(read_texts(judge, texts).surprisal.sum() / len(tokens))
    assert measures.distinct_1.value.mean == len(set(tokens)) / len(tokens)
    bigrams = [pair for text in human.continuations for pair in pairwise(text)]
    assert measures.distinct_2.human == len(set(bigrams)) / len(bigrams)
    repetition = [1 - distinct(text, 4) for text in texts.continuations]
    assert measures.repetition_4.value.mean == pytest.approx(np.mean(repetition))
    for name in MEASURES:
        measure = getattr(measures, name)
        assert measure.distance.mean == pytest.approx(abs(measure.value.mean - measure.human))
        assert 0 <= measure.distance.low <= measure.distance.mean <= measure.distance.high


def test_texts_of_the_same_kind_are_near_and_others_far(judge: torch.nn.Module) -> None:
    human = random_texts(0, 256)
    alike, other = (
        measure_texts(random_texts(1, 256), human, judge),
        measure_texts(random_texts(2, 256, 4.0), human, judge),
    )
    differences = compare_distances(other, alike)
    assert sum(getattr(alike, name).distance.low == 0.0 for name in MEASURES) >= 5
    for name in ("distinct_2", "self_bleu", "zipf"):
        assert getattr(other, name).distance.low > 0 and differences[name].low > 0, name
        assert compare_distances(alike, other)[name].high < 0
    assert all(interval.mean == interval.low == 0.0 for interval in compare_distances(alike, alike).values())


def test_of_itself(judge: torch.nn.Module) -> None:
    texts = random_texts(0)
    measures = measure_texts(texts, texts, judge)
    assert all(getattr(measures, name).distance.mean == pytest.approx(0.0, abs=1e-9) for name in MEASURES)
    assert measures.mauve.value.mean == pytest.approx(1.0)


def test_coverage_of_the_intervals() -> None:
    """Of 40 sets of texts, the intervals of all but a few cover the mean over such sets, at which a bootstrap fails."""
    everyone, groups = np.ones(96, bool), np.arange(96) % 32
    distinct_2, alike = [], []
    for seed in range(40):
        texts = random_texts(seed)
        tables = [NgramTable(texts.continuations, n) for n in (1, 2)]
        for found, figure in (
            (distinct_2, tables[1].distinct),
            (alike, partial(self_bleu, tables, texts.lengths)),
        ):
            left_out = np.array([figure(groups != group) for group in range(32)])
            found.append(jackknife_interval(figure(everyone), left_out))
    for intervals in (distinct_2, alike):
        centre = np.mean([interval.mean for interval in intervals])
        assert sum(interval.low <= centre <= interval.high for interval in intervals) >= 34


def test_bad_texts(judge: torch.nn.Module) -> None:
    with pytest.raises(InvalidValueError, match=r"`texts` must be at least 64\. Received 63"):
        measure_texts(random_texts(0, 63), random_texts(1, 63), judge)
    shorter = random_texts(1)
    shorter = TextSet(shorter.prompts, ((1, 2), *shorter.continuations[1:]))
    with pytest.raises(InvalidValueError, match=r"`human` must be as many texts, of the same lengths"):
        measure_texts(random_texts(0), shorter, judge)
    long = TextSet(((0,),) * 64, ((1,) * 96,) * 64)
    with pytest.raises(InvalidValueError, match=r"`texts` must fit into the 96 tokens .* Received 97 tokens"):
        measure_texts(long, long, judge)
    whole, half = (measure_texts(random_texts(0, n), random_texts(1, n), judge) for n in (96, 64))
    with pytest.raises(InvalidValueError, match=r"`second` must be of 96 texts, as `first`\. Received 64"):
        compare_distances(whole, half)


def test_human_texts_are_cut_as_the_others() -> None:
    tokenizer = load_tokenizer("lm/bundled/tidal-tiny")
    stories = [
        tokenizer(text, add_special_tokens=False)["input_ids"] for text in read_documents(str(BUNDLED_HUMAN_TEXT))
    ]
    assert len(stories) == 512 and min(map(len, stories)) >= 70
    like = TextSet(((0, 4, 5, 6), (0, 1)), ((1, 2, 3, 4, 5), ()))
    human = human_texts(like, tokenizer)
    assert human.prompts == ((0, *stories[0][:3]), (0, stories[1][0]))
    assert human.continuations == (tuple(stories[0][3:8]), ())
    with pytest.raises(InvalidValueError, match=r"`human` must hold 1 documents of at least 101 tokens, .* with 0\."):
        human_texts(TextSet(((0, 4),), ((1,) * 100,)), tokenizer)


def test_human_text_of_ones_own(tmp_path) -> None:
    tokenizer = load_tokenizer("lm/bundled/tidal-tiny")
    (tmp_path / "own.txt").write_text("Too short.\n<|endoftext|>\nThe little boat sailed out to the big sea.\n")
    human = human_texts(TextSet(((0, 4),), ((1, 2, 3, 4, 5),)), tokenizer, str(tmp_path / "own.txt"))
    assert tokenizer.decode([*human.prompts[0][1:], *human.continuations[0]]).startswith("The little boat sailed")


def test_an_evaluation_measures_its_texts(tiny_env: EnvConfig, tiny_model: str, tmp_path) -> None:
    own = tmp_path / "own.txt"
    own.write_text(
        "\n<|endoftext|>\n".join(f"{i} cats sat on the big red mat in the park, said {i}" for i in range(64))
    )
    config = TextMeasuresConfig(judge=tiny_model, human=str(own))
    first, second = (
        evaluate(agent, tiny_env, episodes=64, measures=config) for agent in (Neutral(), Fixed((0.1, 0, 1)))
    )
    assert isinstance(first.measures, TextMeasures) and first.measures.num_texts == 64
    assert set(compare_distances(first.measures, second.measures)) == set(MEASURES)
    stored = json.loads(first.to_json())["measures"]
    assert stored["mauve"]["human"] == 1.0 and len(stored["zipf"]["left_out"]) == 32
    assert asdict(evaluate(Neutral(), tiny_env, episodes=2))["measures"] is None
