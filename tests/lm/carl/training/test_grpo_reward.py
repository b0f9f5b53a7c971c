"""The reward function as TRL calls it."""

from __future__ import annotations

import pickle

import pytest
import torch

from lm.carl import CarlGRPOReward, PhaseAdaptiveWeights, carl_reward
from lm.carl.training import grpo_reward as module
from lm.carl.training.task_words import WordTask
from lm.errors import InvalidValueError, ModelFolderError
from lm.models.bundle import Bundle, load_bundle

PROMPTS = ["Once upon a time", "Once upon a time", "The little dog"]
COMPLETIONS = [", there was a girl who had a red ball.", ", a big bear lived in the woods", " was sad."]


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle("tidal-tiny")


def ids_of(bundle: Bundle, texts: list[str]) -> list[list[int]]:
    return bundle.tokenizer(texts, add_special_tokens=False)["input_ids"]


def call(reward: CarlGRPOReward, prompts: list, ids: list[list[int]], **more: object) -> list[float | None]:
    """With all that TRL 1.16 passes."""
    return reward(
        prompts=prompts, completions=["not looked at"] * len(ids), completion_ids=ids, trainer_state=None,
        log_extra=lambda column, values: None, answer=[None] * len(ids),
        **{"log_metric": lambda name, value: None, **more},
    )  # fmt: skip


def test_each_completion_scores_as_it_would_alone(bundle: Bundle) -> None:
    ids = ids_of(bundle, COMPLETIONS)
    prompts = ["Once upon a time", "One day", "The little dog"]
    rewards = call(CarlGRPOReward(), prompts, ids)
    for prompt, completion, reward in zip(prompts, ids, rewards, strict=True):
        before = bundle.tokenizer(prompt)["input_ids"]
        text = torch.tensor([[*before, *completion]])
        with torch.inference_mode():
            logits = bundle.model(input_ids=text).logits
        alone, _ = carl_reward(logits, text, mask=torch.arange(text.shape[1])[None] >= len(before))
        assert reward == pytest.approx(alone.item(), abs=1e-6)


def test_one_forward_for_all(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokenizer = module._load_judge("tidal-tiny", "float32", "cpu")
    batches = []

    def forward(**inputs: torch.Tensor) -> object:
        batches.append(tuple(inputs["input_ids"].shape))
        return model(**inputs)

    forward.config, forward.device = model.config, model.device
    monkeypatch.setattr(module, "_load_judge", lambda *arguments: (forward, tokenizer))
    call(CarlGRPOReward(), PROMPTS, ids_of(bundle, COMPLETIONS))
    assert len(batches) == 1 and batches[0][0] == 3


def test_copies_count_within_a_group_only(bundle: Bundle) -> None:
    same = ids_of(bundle, [COMPLETIONS[0]] * 3)
    rewards = call(CarlGRPOReward(), PROMPTS, same)
    assert rewards[0] == rewards[1] == 0.0 and rewards[2] > 0.1


def test_empty_completions_have_no_score(bundle: Bundle) -> None:
    ids = ids_of(bundle, COMPLETIONS)
    rewards = call(CarlGRPOReward(), PROMPTS, [ids[0], [], ids[2]])
    assert rewards[1] is None and rewards[0] > 0 and rewards[2] > 0
    assert call(CarlGRPOReward(), PROMPTS, [[], [], []]) == [None] * 3


def test_components_are_logged(bundle: Bundle) -> None:
    logged: dict[str, float] = {}
    call(CarlGRPOReward(), PROMPTS, ids_of(bundle, COMPLETIONS), log_metric=logged.__setitem__)
    names = {"multiscale", "cloud_quality", "discontinuity", "phi_mean", "information", "novelty", "published"}
    assert {f"carl/{name}" for name in names} <= logged.keys()
    assert 0 < logged["carl/information"] < 1
    assert logged["carl/flat_groups"] == 0.5  # of two groups the one with a single completion


def test_pickles_without_its_judge(bundle: Bundle) -> None:
    reward = CarlGRPOReward(weights=PhaseAdaptiveWeights())
    ids = ids_of(bundle, COMPLETIONS)
    call(reward, PROMPTS, ids)
    data = pickle.dumps(reward)
    assert len(data) < 2000
    again = pickle.loads(data)
    assert again.weights.order == reward.weights.order is not None
    assert call(again, PROMPTS, ids) == call(reward, PROMPTS, ids)


def test_published_composite(bundle: Bundle) -> None:
    logged: dict[str, float] = {}
    rewards = call(
        CarlGRPOReward(composite="published"), PROMPTS, ids_of(bundle, COMPLETIONS), log_metric=logged.__setitem__
    )
    assert min(rewards) > 0.5 and "carl/novelty" not in logged


def test_errors_are_not_swallowed(bundle: Bundle, tmp_path: object) -> None:
    with pytest.raises(InvalidValueError, match="`completion_ids` must lie in the judge's vocabulary, 0 to 4095"):
        call(CarlGRPOReward(), PROMPTS[:1], [[4096]])
    with pytest.raises(InvalidValueError, match="`completions` must fit with their prompts into the 256 tokens"):
        call(CarlGRPOReward(), PROMPTS[:1], [[5] * 256])
    with pytest.raises(ModelFolderError, match="No model could be loaded"):
        call(CarlGRPOReward(str(tmp_path)), PROMPTS[:1], [[5]])
    with pytest.raises(InvalidValueError, match="`dtype` must be one of"):
        CarlGRPOReward(dtype="int8")


def test_word_task() -> None:
    task = WordTask(["happy", "big dog"])
    texts = ["He was Happy.", "unhappy people", "a big dog!", [{"role": "assistant", "content": "so happy"}]]
    assert task(completions=texts, prompts=None, completion_ids=None) == [1.0, 0.0, 1.0, 1.0]
    assert pickle.loads(pickle.dumps(task))(completions=["happy"]) == [1.0]
    logged: dict[str, float] = {}
    task(completions=texts, prompts=["a", "b", "b", [{"role": "user", "content": "x"}]], log_metric=logged.__setitem__)
    assert logged == {"task/flat_groups": 2 / 3}
    with pytest.raises(InvalidValueError, match="`words` must be one or more words"):
        WordTask([""])
