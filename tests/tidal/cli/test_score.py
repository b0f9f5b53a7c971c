from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

Tidal = Callable[..., Any]

TEXT = "The dog sat on the mat."


def test_scores_are_those_of_the_model(tidal: Tidal, model: str) -> None:
    """Against the loss that the model itself gives for labels."""
    code, out, _ = tidal("score", TEXT, "--model", model, "--json")
    result = json.loads(out)
    tokenizer, language_model = AutoTokenizer.from_pretrained(model), AutoModelForCausalLM.from_pretrained(model)
    ids = torch.tensor([tokenizer(TEXT)["input_ids"]])
    with torch.no_grad():
        loss = float(language_model(input_ids=ids, labels=ids).loss)
    num_tokens = ids.shape[1] - 1
    assert code == 0
    assert result["tokens"] == num_tokens and result["bytes"] == len(TEXT) and result["documents"] == 1
    assert result["loss"] == pytest.approx(loss, rel=1e-5)
    assert result["perplexity"] == pytest.approx(math.exp(loss), rel=1e-4)
    assert result["bits_per_byte"] == pytest.approx(loss * num_tokens / math.log(2) / len(TEXT), rel=1e-5)


def test_per_token(tidal: Tidal, model: str) -> None:
    result = json.loads(tidal("score", TEXT, "--model", model, "--json", "--per_token", "--top_k", 2).out)
    tokens = result["per_token"]
    assert "".join(token["token"] for token in tokens) == TEXT
    assert sum(token["surprisal"] for token in tokens) / len(tokens) == pytest.approx(result["loss"], rel=1e-5)
    for token in tokens:
        first, second = (entry["probability"] for entry in token["top"])
        assert 1 > first >= second > 0
        assert math.exp(-token["surprisal"]) <= first + 1e-6


def test_table(tidal: Tidal, model: str) -> None:
    code, out, _ = tidal("score", TEXT, "--model", model, "--per_token")
    assert code == 0
    assert "most likely" in out and "Bits per byte" in out and "'T" in out


def test_file_of_documents(tidal: Tidal, model: str, tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("A cat.\n<|endoftext|>\nA dog.\n", encoding="utf-8")
    result = json.loads(tidal("score", "--file", path, "--model", model, "--json").out)
    assert result["documents"] == 2 and result["bytes"] == len("A cat.A dog.")


def test_standard_input(tidal: Tidal, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(TEXT))
    assert json.loads(tidal("score", "-", "--model", model, "--json").out)["bytes"] == len(TEXT)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "`text` or `file` must be given, and not both. Received neither."),
        (["text", "--file", "x.txt"], "Received both."),
        ([" "], "`text` must not be empty."),
        (["text", "--per_token", "--top_k", "-1"], "`top_k` must be at least 0. Received -1."),
        (["--file", "nowhere.txt"], "must be an existing file. Received nowhere.txt."),
    ],
)
def test_bad_input(tidal: Tidal, model: str, arguments: list[str], says: str) -> None:
    code, out, err = tidal("score", *arguments, "--model", model)
    assert (code, out) == (2, "") and says in err and err.count("\n") == 1
