"""Text for a model whose tokenizer has tokens for some words alone, and none for unknown ones."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from lm.carl import agent_step
from lm.carl.training.grpo_reward import prompt_ids
from lm.errors import ModelFolderError
from lm.model_names import resolve
from lm.models.bundle import load_bundle
from lm.tokenizers.tokenization import plain_ids, refusing_unknown_text

SMALL = ("--total_steps", 8, "--ppo.num_envs", 2, "--ppo.rollout_steps", 4, "--ppo.batch_size", 4)


@pytest.fixture
def symbols(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder with a model of a grammar's symbols; it and a text are in the working folder."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(resolve("rlm-tiny"), "symbols")
    Path("text.txt").write_text("Once upon a time\n<|endoftext|>\nOne day\n" * 20, encoding="utf-8")
    Path("lines.txt").write_text("Once upon a time there was\n" * 20, encoding="utf-8")
    return "./symbols"


@pytest.mark.parametrize(
    "words",
    [
        ("generate", "Once upon", "--model"),
        ("score", "Once upon", "--model"),
        ("statistics", "--data", "text.txt", "--held_out", 0.5, "--output", "new.safetensors", "--model"),
        ("evaluate", "--agent", "neutral", "--episodes", 2, "--num_envs", 2, "--env.model"),
        ("evaluate", "--agent", "neutral", "--episodes", 2, "--prompts", "lines.txt", "--env.model"),
        ("train", *SMALL, "--output", "out", "--env.model"),
        ("carl", "agent", "Once upon", "--model"),
        ("carl", "train", "--data.source", "lines.txt", "--data.by_line", "true", "--output", "out", "--model"),
        ("pretrain", "--data.train", "text.txt", "--output", "out", "--data.tokenizer"),
    ],
    ids=lambda words: " ".join(map(str, words[:2])),
)
def test_the_text_is_refused(tidal: Any, symbols: str, words: tuple[object, ...]) -> None:
    before = set(Path().iterdir())
    code, _, err = tidal(*words, symbols)
    assert code == 2 and "The model's tokenizer cannot encode the text: " in err and "Traceback" not in err, err
    assert set(Path().iterdir()) == before


def test_calls_from_python(symbols: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(symbols)
    assert plain_ids(tokenizer, ["s0 s2"]) == [[0, 2]]
    for call in (lambda: plain_ids(tokenizer, ["s0 sea"]), lambda: prompt_ids(tokenizer, ["s0 sea"])):
        with pytest.raises(ModelFolderError, match=r"Missing \[UNK\] token.*Give text of the tokenizer's vocabulary"):
            call()
    bundle = load_bundle(symbols)
    with pytest.raises(ModelFolderError, match="cannot encode the text"):
        agent_step(bundle.model, bundle.tokenizer, "Once upon")


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(KeyError), refusing_unknown_text():
        raise KeyError("bug")
