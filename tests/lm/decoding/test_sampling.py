import numpy as np
import torch
from hypothesis import given, strategies as st
from transformers import TopKLogitsWarper, TopPLogitsWarper

from lm.decoding.sampling import inverse_cdf_sample, top_k, top_k_mask, top_p_mask


def test_inverse_cdf_by_hand():
    probs = torch.tensor([[0.2, 0.0, 0.5, 0.3]]).expand(6, 4)
    uniforms = torch.tensor([0.0, 0.19, 0.2, 0.69, 0.7, 0.999])
    assert inverse_cdf_sample(probs, uniforms).tolist() == [0, 0, 2, 2, 3, 3]


def test_what_has_no_probability_is_never_drawn():
    assert inverse_cdf_sample(torch.tensor([[0.5, 0.5, 0.0]]), torch.tensor([1 - 2**-26])).tolist() == [1]
    assert inverse_cdf_sample(torch.tensor([[0.0, 1.0]]), torch.tensor([0.0])).tolist() == [1]


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=8), st.integers(0, 1000))
def test_inverse_cdf_is_the_first_index_above_the_uniform(uniforms, seed):
    probs = torch.from_numpy(np.random.default_rng(seed).dirichlet(np.ones(5), size=len(uniforms)))
    drawn = inverse_cdf_sample(probs, torch.tensor(uniforms, dtype=torch.float64))
    for row, uniform in enumerate(uniforms):
        total, cumulative = float(probs[row].cumsum(0)[-1]), 0.0
        for index in range(5):
            cumulative = float(probs[row].cumsum(0)[index])
            if cumulative > uniform * total:
                break
        assert drawn[row] == index


@given(st.integers(0, 1000), st.floats(0.05, 1.0), st.integers(1, 12))
def test_truncations_are_those_of_transformers(seed, p, k):
    logits = torch.randn(3, 10, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    assert torch.equal(top_k_mask(logits, k), TopKLogitsWarper(k)(None, logits.clone()))
    if p < 1:
        assert torch.equal(top_p_mask(logits, p), TopPLogitsWarper(p)(None, logits.clone()))


@given(st.integers(0, 1000), st.sampled_from([7, 64, 401, 4096]), st.sampled_from([1, 5, 40]))
def test_top_k_finds_what_torch_finds(seed, vocab_size, k):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, vocab_size, generator=generator, dtype=torch.float64)
    logits[0, : vocab_size // 2] = -torch.inf  # ruled out by the model
    logits[1] = 0.0  # all alike
    values, columns = top_k(logits, k)
    assert torch.equal(values.sort(dim=1).values, logits.topk(min(k, vocab_size)).values.flip(1))
    assert torch.equal(logits.gather(1, columns), values)
    assert all(len(row.unique()) == min(k, vocab_size) for row in columns)
