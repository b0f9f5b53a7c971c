"""The running statistics of the text against counting it anew."""

from __future__ import annotations

import itertools

import torch
from hypothesis import given, settings, strategies as st

from tidal_gym.dynamics.history import TokenHistory

texts = st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=6), min_size=3, max_size=3)
drawn = st.lists(st.lists(st.integers(0, 4), min_size=3, max_size=3), max_size=14)


@settings(max_examples=30)
@given(texts, drawn, texts)
def test_statistics_equal_counting(prompts, steps, later_prompts):
    history = TokenHistory(3, 24)
    begin(history, [0, 1, 2], prompts)
    expected = [list(prompt) for prompt in prompts]
    check(history, expected)
    for tokens in steps:
        history.append(torch.tensor(tokens))
        for text, token in zip(expected, tokens, strict=True):
            text.append(token)
        check(history, expected)
    begin(history, [2, 0], [later_prompts[2], later_prompts[0]])
    expected[2], expected[0] = list(later_prompts[2]), list(later_prompts[0])
    check(history, expected)


def begin(history: TokenHistory, rows: list[int], prompts: list[list[int]]) -> None:
    width = max(map(len, prompts))
    padded = torch.tensor([prompt + [99] * (width - len(prompt)) for prompt in prompts])
    history.reset(torch.tensor(rows), padded, torch.tensor([len(prompt) for prompt in prompts]))


def check(history: TokenHistory, texts: list[list[int]]) -> None:
    for row, text in enumerate(texts):
        pairs = list(itertools.pairwise(text))
        assert history.lengths[row] == len(text)
        assert history.newest[row] == text[-1]
        assert history.tokens[row, : len(text)].tolist() == text
        assert set(history.tokens[row].tolist()) == set(text)  # the padding adds nothing
        firsts = history.tokens[row][history.is_first[row]].tolist()
        assert sorted(firsts) == sorted(set(text))
        assert history.recent()[row].tolist() == ([-1] * 10 + text)[-10:]
        torch.testing.assert_close(
            history.repetition_ratio()[row].item(), 1 - len(set(text)) / len(text), atol=1e-6, rtol=0
        )
        distinct = len(set(pairs)) / len(pairs) if pairs else 1.0
        torch.testing.assert_close(history.distinct_bigrams()[row].item(), distinct, atol=1e-6, rtol=0)
