"""Openings: where they come from, how they are cut, and what is refused."""

from __future__ import annotations

import collections
import gzip

import numpy as np
import pytest

from lm.errors import InvalidValueError
from tidal_gym.envs.text.prompts import PromptSet, read_openings, tokenize_openings


def test_lines_of_a_file(tmp_path):
    path = tmp_path / "openings.txt"
    path.write_text("Über den Fluss\n\n  A cat sat.  \r\n", encoding="utf-8")
    assert read_openings(str(path)) == ["Über den Fluss", "  A cat sat.  "]


def test_text_to_continue_is_taken_as_it_is(tokenizer):
    texts = ["Tom said:\n", "  Oh", " ", "One\x0btwo\u2028three"]
    assert read_openings(texts) == texts
    prompts = tokenize_openings(texts, tokenizer, lengths=(99, 99), context_length=96)
    assert [tokenizer.decode(list(opening)) for opening in prompts.openings] == texts


def test_lines_end_at_line_breaks_alone(tmp_path):
    path = tmp_path / "openings.txt"
    path.write_bytes("\ufeffOne\u2028two\x85\r\nThree\x0bfour\x0c\n".encode())
    assert read_openings(str(path)) == ["One\u2028two\x85", "Three\x0bfour\x0c"]
    packed = tmp_path / "openings.txt.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert read_openings(packed) == read_openings(path)


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "openings.txt").write_text("A cat sat.\n", encoding="utf-8")
    assert read_openings("~/openings.txt") == ["A cat sat."]


def test_special_tokens_that_an_opening_spells_are_plain_text(tokenizer):
    opening = tokenize_openings(["a <|endoftext|> b"], tokenizer, lengths=(99, 99), context_length=96).openings[0]
    assert tokenizer.eos_token_id not in opening
    assert tokenizer.decode(list(opening), skip_special_tokens=True) == "a <|endoftext|> b"


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (["Oh", ""], "must hold text. Received '' in entry 2."),
        (["Oh \ud83d"], r"lone surrogate \\ud83d as character 4 in entry 1\."),
        ("no\0where", "must be one of train, heldout"),
        (5, "must be a name, a path or a list of strings"),
        (".", r"Received '\.' \(a folder\)"),
    ],
)
def test_openings_that_are_no_text(source, says):
    with pytest.raises(InvalidValueError, match=says):
        read_openings(source)


@pytest.mark.parametrize("name", ["train", "heldout"])
def test_bundled_openings(name):
    assert len(read_openings(name)) >= 100


@pytest.mark.parametrize("content", [b"", b"\n  \n"])
def test_empty_file(tmp_path, content):
    path = tmp_path / "empty.txt"
    path.write_bytes(content)
    with pytest.raises(InvalidValueError, match=r"`prompts` must hold at least one opening\. Received .*empty\.txt"):
        read_openings(str(path))


def test_empty_list():
    with pytest.raises(InvalidValueError, match="`prompts` must hold at least one opening"):
        read_openings([])


def test_not_utf8(tmp_path):
    path = tmp_path / "latin1.txt"
    path.write_bytes("Über".encode("latin-1"))
    with pytest.raises(InvalidValueError, match=r"UTF-8 text\. Received the byte 0xdc in line 1 of .*latin1\.txt"):
        read_openings(str(path))


def test_no_such_file():
    with pytest.raises(InvalidValueError, match=r"`prompts` must be one of train, heldout, .*'trian' \(No such file"):
        read_openings("trian")


def test_not_strings():
    with pytest.raises(InvalidValueError, match="`prompts` must be a name, a path or a list of strings"):
        read_openings([1, 2])


def test_prompt_longer_than_the_context(tokenizer):
    with pytest.raises(InvalidValueError, match=r"shorter than the model's context of 20 tokens.*opening 2, 'ha ha"):
        tokenize_openings(["Short.", "ha " * 30], tokenizer, context_length=20)


def test_special_prefix_is_kept_apart(tokenizer):
    prompts = tokenize_openings(["Once upon a time there was"], tokenizer, context_length=96)
    text = tokenizer("Once upon a time there was", add_special_tokens=False).input_ids
    assert prompts.prefix == (0,)
    assert prompts.openings == (tuple(text[:10]),)
    assert prompts.longest == 1 + min(len(text), 10)


def test_trailing_special_tokens_are_dropped(tokenizer):
    class Closing:
        def __call__(self, text, **options):
            ids = [0, *tokenizer(text, add_special_tokens=False).input_ids, 7]
            return {"input_ids": ids, "special_tokens_mask": [1, *[0] * (len(ids) - 2), 1]}

    prompts = tokenize_openings(["Oh"], Closing(), context_length=96)
    assert prompts.prefix == (0,)
    assert prompts.openings == (tuple(tokenizer("Oh", add_special_tokens=False).input_ids),)


@pytest.mark.parametrize("lengths", [(0, 5), (5, 3), (3,), 4, ("3", "4")])
def test_lengths_are_a_pair(tokenizer, lengths):
    with pytest.raises(InvalidValueError, match="`prompt_tokens` must be a pair"):
        tokenize_openings(["Oh"], tokenizer, lengths=lengths, context_length=96)


def test_draw_is_uniform_and_short_openings_are_used_whole():
    prompts = PromptSet(prefix=(0,), openings=(tuple(range(10)), (7, 8)), lengths=(3, 10))
    generator = np.random.default_rng(0)
    drawn = collections.Counter(prompts.draw(generator) for _ in range(8000))
    assert set(drawn) == {(7, 8), *(tuple(range(length)) for length in range(3, 11))}
    assert drawn[(7, 8)] == pytest.approx(4000, abs=150)
    for length in range(3, 11):
        assert drawn[tuple(range(length))] == pytest.approx(500, abs=100)


def test_prompts_of_the_environment(make_env, tokenizer):
    env = make_env(64, prompts=["Once upon a time there was a little boat"])
    env.reset(seed=0)
    text = tokenizer("Once upon a time there was a little boat").input_ids
    lengths = set()
    for ids in env.token_ids():
        assert ids == text[: len(ids)]
        lengths.add(len(ids) - 1)
    assert lengths == set(range(3, 1 + min(10, len(text) - 1)))
