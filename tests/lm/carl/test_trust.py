"""What the corrected reward must not pay for: noise, collapse and copies, under the bundled model and without one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from lm.carl import carl_reward
from lm.models.bundle import Bundle, load_bundle

MARGIN = 0.05
PROMPT = 8

STORIES = (
    "One sunny day, Mia went to the park with her dad. She wanted to fly her new red kite, but there was no wind. "
    "She sat on the grass and felt sad. Then a big gust of wind came, and the kite went up into the sky.",
    "Once upon a time there was a small frog who lived in a pond. The frog loved to sing, but his friends said that he "
    "was too loud. So he went to the other side of the pond, where an old duck liked to listen to his songs.",
    "Tom found a little box under his bed. It was blue and had a golden key. When he opened it, he saw a tiny clock "
    "that did not tick. He took it to his grandma, and she showed him how to wind it.",
    "It was raining outside and Anna could not play in the garden. Her mom gave her some paper and crayons. Anna drew "
    "a big house with a green door, and a cat that slept on the roof. Then the sun came out.",
    "Ben and his sister wanted to bake a cake for their mom. They mixed flour, eggs and milk in a bowl. Some flour "
    "fell on the dog, and he looked like a ghost. They laughed so much that they forgot the cake in the oven.",
    "The old bear was tired and wanted to sleep all winter. But a little bird sang every morning by his cave. The bear "
    "asked the bird to sing at night instead, so that the song would help him to fall asleep.",
)
"""Written for this test."""


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle("tidal-tiny")


@pytest.fixture(scope="module")
def human(bundle: Bundle) -> Tensor:
    """(6, T) the stories, cut to the shortest one's length."""
    texts = [bundle.tokenizer(story)["input_ids"] for story in STORIES]
    return torch.tensor([ids[: min(map(len, texts))] for ids in texts])


def rewards_of(bundle: Bundle, ids: Tensor, start: int = PROMPT, **options: object) -> Tensor:
    with torch.inference_mode():
        logits = bundle.model(input_ids=ids).logits
    mask = (torch.arange(ids.shape[1]) >= start).expand(len(ids), -1)
    return carl_reward(logits, ids, mask=mask, **options)[0]


@pytest.fixture(scope="module")
def human_rewards(bundle: Bundle, human: Tensor) -> Tensor:
    return rewards_of(bundle, human)


def spoiled(bundle: Bundle, human: Tensor, kind: str) -> Tensor:
    """The stories' beginnings, continued by what is to earn less than they do."""
    generator = torch.Generator().manual_seed(0)
    ids = human.clone()
    room = (len(ids), ids.shape[1] - PROMPT)
    if kind == "uniform noise":
        ids[:, PROMPT:] = torch.randint(1, bundle.vocab_size, room, generator=generator)
    elif kind == "random one-token loop":
        ids[:, PROMPT:] = torch.randint(1, bundle.vocab_size, (len(ids), 1), generator=generator)
    elif kind == "loop of a frequent token":
        ids[:, PROMPT:] = bundle.statistics.unigram_counts[1:].argmax() + 1
    elif kind == "loop of three tokens":
        ids[:, PROMPT:] = human[:, PROMPT : PROMPT + 3].repeat(1, room[1])[:, : room[1]]
    elif kind == "copied completion":
        ids[:] = human[:1]
    return ids


KINDS = [
    "uniform noise",
    "random one-token loop",
    "loop of a frequent token",
    "loop of three tokens",
    "copied completion",
]


@pytest.mark.parametrize("kind", KINDS)
def test_noise_loops_and_copies_earn_less_than_human_text(
    bundle: Bundle, human: Tensor, human_rewards: Tensor, kind: str
) -> None:
    """Every one of them less than every human text, by the margin."""
    rewards = rewards_of(bundle, spoiled(bundle, human, kind))
    assert rewards.max() + MARGIN <= human_rewards.min()


def test_a_copied_prompt_earns_less_than_human_text(bundle: Bundle, human: Tensor, human_rewards: Tensor) -> None:
    beginning = human[:, 1:25]
    ids = torch.cat((human[:, :1], beginning, beginning), dim=1)
    groups = torch.arange(len(ids))
    assert rewards_of(bundle, ids, start=25, groups=groups).max() + MARGIN <= human_rewards.min()


def test_the_published_composite_rewards_noise_and_loops_almost_as_much(
    bundle: Bundle, human: Tensor, human_rewards: Tensor
) -> None:
    """Why there is a corrected one. Stays as it is: it is what was published."""
    published = [rewards_of(bundle, spoiled(bundle, human, kind), composite="published").mean() for kind in KINDS[:3]]
    ours = rewards_of(bundle, human, composite="published").mean()
    assert max(published) > ours - 0.1


def test_published_openings_of_this_project(bundle: Bundle) -> None:
    """The held-out openings are far from what the model has read, and still earn more than noise and loops."""
    from tidal_gym.envs.text.prompts import read_openings

    texts = [bundle.tokenizer(opening)["input_ids"] for opening in read_openings("heldout")]
    length = max(map(len, texts))
    ids = torch.tensor([text + [0] * (length - len(text)) for text in texts])
    lengths = torch.tensor([len(text) for text in texts])
    place = torch.arange(length)
    with torch.inference_mode():
        logits = bundle.model(input_ids=ids).logits
    mask = (place >= 4) & (place < lengths[:, None])
    groups = torch.arange(len(ids))
    human_mean = carl_reward(logits, ids, mask=mask, groups=groups)[0].mean()
    noise = ids.clone()
    generator = torch.Generator().manual_seed(1)
    noise[:, 4:] = torch.randint(1, bundle.vocab_size, noise[:, 4:].shape, generator=generator)
    loops = ids.clone()
    loops[:, 4:] = noise[:, 4:5]
    for spoiled_ids in (noise, loops):
        with torch.inference_mode():
            spoiled_logits = bundle.model(input_ids=spoiled_ids).logits
        assert carl_reward(spoiled_logits, spoiled_ids, mask=mask, groups=groups)[0].mean() + MARGIN <= human_mean


# Without a model: the three that show the trap of the published composite


def synthetic(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Logits and the tokens drawn from them, 128 tokens over 64 words."""
    rng = np.random.default_rng(0)
    logits = np.zeros((129, 64))
    ids = rng.integers(0, 64, 129)
    if kind == "collapsed":
        logits[:, 5], ids[:] = 50.0, 5
    if kind == "correct":  # sure of every other token, and right
        logits[np.arange(128), ids[1:]] = np.where(np.arange(128) % 2, 9.0, 5.0)
    return logits, ids


def test_noise_and_a_collapsed_model_earn_less_than_a_correct_one() -> None:
    published = {
        kind: carl_reward(*synthetic(kind), composite="published")[0] for kind in ("noise", "collapsed", "correct")
    }
    assert published["noise"] == pytest.approx(0.6, abs=1e-6)
    assert published["collapsed"] == pytest.approx(0.9, abs=1e-6)
    assert published["collapsed"] > published["correct"]
    corrected = {kind: carl_reward(*synthetic(kind))[0] for kind in published}
    assert corrected["noise"] + MARGIN <= corrected["correct"]
    assert corrected["collapsed"] + MARGIN <= corrected["correct"]


def test_corrected_by_hand() -> None:
    """Two of four words at even odds: S = H = log 2, half of log 4. All 4-grams are new."""
    logits = np.log(np.array([[0.5, 0.5, 1e-30, 1e-30]] * 6))
    reward, components = carl_reward(logits, np.array([0, 0, 0, 1, 0, 1]))
    assert components["information"] == pytest.approx(0.5)
    assert components["novelty"] == 1.0
    assert components["published"] == pytest.approx(0.5 * 1.0 + 0.3 * 0.25 + 0.2 * 0.5)
    assert reward == pytest.approx(0.5 * components["published"])
