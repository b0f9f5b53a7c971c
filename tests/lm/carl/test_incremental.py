"""A growing text has at every token the reward that the text so far has as a whole."""

from __future__ import annotations

import pytest
import torch

from lm.carl import CarlWeights, GrowingReward, carl_reward, token_field

NUM_ROWS, LENGTH, VOCABULARY, PROMPT = 4, 70, 30, 3


def texts(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(NUM_ROWS, LENGTH, VOCABULARY, generator=generator, dtype=torch.float64) * 3
    return logits, torch.randint(3, (NUM_ROWS, LENGTH), generator=generator)  # three words: many repeats


@pytest.mark.parametrize("composite", ["corrected", "published"])
def test_incremental_equals_batched(composite: str) -> None:
    growing = GrowingReward(NUM_ROWS, LENGTH, VOCABULARY, composite=composite, weights=CarlWeights(0.2, 0.3, 0.5))
    rows = torch.arange(NUM_ROWS)
    for seed in range(2):  # the second time over what the first has left
        logits, ids = texts(seed)
        is_drawn = torch.arange(LENGTH).expand(NUM_ROWS, -1) >= PROMPT
        field = token_field(logits, ids, mask=is_drawn)
        growing.begin(rows, ids[:, :PROMPT].tolist())
        assert growing.reward().tolist() == [0.0] * NUM_ROWS
        for place in range(PROMPT, LENGTH):
            numbers = (values[:, place - PROMPT] for values in (field.phi, field.log_prob, field.entropy))
            growing.add(rows, *numbers, ids[:, place])
            so_far = slice(place + 1)
            whole, components = carl_reward(
                logits[:, so_far], ids[:, so_far], mask=is_drawn[:, so_far], groups=rows, composite=composite,
                weights=CarlWeights(0.2, 0.3, 0.5),
            )  # fmt: skip
            torch.testing.assert_close(growing.reward(), whole, atol=1e-12, rtol=0)
            for name, values in growing.components().items():
                if name in components:
                    torch.testing.assert_close(values, components[name], atol=1e-12, rtol=0, msg=name)


def test_rows_grow_by_themselves() -> None:
    """A row that idles, or begins anew, changes nothing for the others."""
    logits, ids = texts(5)
    field = token_field(logits, ids)
    together, alone = GrowingReward(2, LENGTH, VOCABULARY), GrowingReward(1, LENGTH, VOCABULARY)
    together.begin(torch.arange(2), ids[:2, :1].tolist())
    alone.begin(torch.tensor([0]), ids[:1, :1].tolist())
    for place in range(20):
        for growing, rows in ((together, [0, 1] if place % 3 else [0]), (alone, [0])):
            numbers = (values[rows, place] for values in (field.phi, field.log_prob, field.entropy))
            growing.add(torch.tensor(rows), *numbers, ids[rows, place + 1])
        if place == 10:
            together.begin(torch.tensor([1]), [[1, 2]])
    assert together.reward()[0] == alone.reward()[0]
    assert together.counts.tolist() == [20, 6]
