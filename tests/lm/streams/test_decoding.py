"""Cached streams against uncached forwards of the whole text."""

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from lm.errors import InvalidValueError
from lm.models.gate_names import NEUTRAL_GATES
from lm.models.gated_transformer import GatedTransformer
from lm.models.gated_transformer_config import GatedTransformerConfig
from lm.streams.opening import accepts_gates, open_stream

VOCAB_SIZE = 50
LENGTHS = torch.tensor([4, 0, 7, 1])


def make_gated(**overrides):
    torch.manual_seed(0)
    config = {
        "vocab_size": VOCAB_SIZE,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 32,
    }
    model = GatedTransformer(GatedTransformerConfig(**(config | overrides)))
    for parameter in model.parameters():  # far from initialisation: gates open and close, biases matter
        parameter.data += 0.3 * torch.randn_like(parameter)
    return model.double().eval()


def make_gpt2():
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=VOCAB_SIZE, n_embd=32, n_layer=2, n_head=4, n_positions=32)
    return GPT2LMHeadModel(config).double().eval()


def make_llama():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=32,
    )
    return LlamaForCausalLM(config).double().eval()


MODELS = {
    "gated rotary": lambda: make_gated(position_embedding_type="rotary", tie_word_embeddings=True, head_bias=False),
    "gated learned": lambda: make_gated(position_embedding_type="learned"),
    "gateless": lambda: make_gated(gated=False),
    "gpt2": make_gpt2,
    "llama": make_llama,
}


@pytest.fixture(params=MODELS)
def model(request):
    return MODELS[request.param]()


def read_everything(model, num_steps, focus):
    """Prefill uneven rows, read tokens, refill two rows on the way: texts, per-token gates and biases, last output."""
    generator = torch.Generator().manual_seed(1)
    stream = open_stream(model, num_rows=4, capacity=16)
    texts, gates, biases = [[] for _ in range(4)], [[] for _ in range(4)], [[] for _ in range(4)]

    def prefill(rows, lengths):
        tokens = torch.randint(0, VOCAB_SIZE, (len(rows), 7), generator=generator)
        output = stream.prefill(rows, tokens, lengths)
        for place, (row, length) in enumerate(zip(rows.tolist(), lengths.tolist(), strict=True)):
            texts[row] = tokens[place, :length].tolist()
            gates[row], biases[row] = [list(NEUTRAL_GATES)] * length, [0.0] * length
        return output

    prefill(torch.arange(4), LENGTHS)
    for step in range(num_steps):
        tokens = torch.randint(0, VOCAB_SIZE, (4,), generator=generator)
        gate = torch.rand(4, 3, generator=generator, dtype=torch.float64)
        bias = 3 * torch.rand(4, generator=generator, dtype=torch.float64) if focus else None
        if step == 3:
            prefill(torch.tensor([2, 0]), torch.tensor([3, 6]))
        gate = gate if accepts_gates(model) else None
        peeked = stream.peek(tokens, gate, bias)
        output = stream.step(tokens, gate, bias)
        assert torch.equal(peeked.logits, output.logits) and torch.equal(peeked.hidden, output.hidden)
        for row in range(4):
            texts[row].append(int(tokens[row]))
            gates[row].append(gate[row].tolist() if gate is not None else None)
            biases[row].append(float(bias[row]) if focus else 0.0)
    return texts, gates, biases, output


def test_cached_equals_uncached_with_per_token_gates_and_staggered_prefills(model):
    is_gated = isinstance(model, GatedTransformer)
    texts, gates, biases, output = read_everything(model, num_steps=7, focus=is_gated)
    for row in range(4):
        extra = {}
        if accepts_gates(model):
            extra["gate_signals"] = torch.tensor(gates[row], dtype=torch.float64)[None]
        if is_gated:
            extra["focus_bias"] = torch.tensor(biases[row], dtype=torch.float64)[None]
        whole = model(input_ids=torch.tensor(texts[row])[None], output_hidden_states=True, use_cache=False, **extra)
        torch.testing.assert_close(output.logits[row], whole.logits[0, -1], rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(output.hidden[row], whole.hidden_states[-1][0, -1], rtol=1e-9, atol=1e-9)


def test_prefill_gives_the_output_after_each_prompts_last_token(model):
    tokens = torch.randint(0, VOCAB_SIZE, (3, 6), generator=torch.Generator().manual_seed(2))
    lengths = torch.tensor([6, 2, 4])
    output = open_stream(model, 5, 10).prefill(torch.tensor([4, 0, 2]), tokens, lengths)
    for row, length in enumerate(lengths.tolist()):
        whole = model(input_ids=tokens[row : row + 1, :length], use_cache=False).logits[0]
        torch.testing.assert_close(output.newest.logits[row], whole[-1], rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(output.before_newest.logits[row], whole[-2], rtol=1e-9, atol=1e-9)


def test_a_copied_row_goes_on_as_if_it_had_been_read(model):
    tokens = torch.randint(0, VOCAB_SIZE, (4, 6), generator=torch.Generator().manual_seed(5))
    lengths, rows = torch.tensor([6, 2, 4, 3]), torch.tensor([2, 0])
    first, second, expected = (open_stream(model, 4, 10) for _ in range(3))
    for stream in (first, second):
        stream.prefill(torch.arange(4), tokens.flip(1), torch.full((4,), 5))
    first.prefill(rows, tokens[rows], lengths[rows])
    second.copy_rows(first, rows, lengths[rows] - 1)
    expected.prefill(torch.arange(4), tokens.flip(1), torch.full((4,), 5))
    expected.prefill(rows, tokens[rows], lengths[rows] - 1)
    newest = torch.tensor([7, 8, 9, 10])
    torch.testing.assert_close(second.step(newest).logits, expected.step(newest).logits, rtol=1e-9, atol=1e-9)


def test_focus_bias_in_a_transformers_model_is_the_written_formula():
    model = make_gpt2()
    model.set_attn_implementation("eager")
    stream = open_stream(model, 1, 8)
    stream.prefill(torch.tensor([0]), torch.tensor([[1, 2, 3, 4]]), torch.tensor([4]))
    output = stream.step(torch.tensor([5]), None, torch.tensor([2.0], dtype=torch.float64))
    mask = torch.full((5, 5), -torch.inf, dtype=torch.float64).triu(1)
    mask[4] += torch.tensor([-2.0 * (4 - key) / 4 for key in range(5)], dtype=torch.float64)
    whole = model(input_ids=torch.tensor([[1, 2, 3, 4, 5]]), attention_mask=mask[None, None], use_cache=False)
    torch.testing.assert_close(output.logits[0], whole.logits[0, -1], rtol=1e-9, atol=1e-9)


def test_neutral_gates_are_no_gates_to_the_last_bit():
    model = make_gated(position_embedding_type="rotary").float()
    tokens = torch.randint(0, VOCAB_SIZE, (4,), generator=torch.Generator().manual_seed(3))
    outputs = []
    for gates, bias in ((None, None), (torch.tensor([NEUTRAL_GATES] * 4), torch.zeros(4))):
        stream = open_stream(model, 4, 8)
        stream.prefill(torch.arange(4), torch.arange(12).view(4, 3), torch.tensor([3, 2, 1, 3]))
        stream.step(tokens, gates, bias)
        outputs.append(stream.step(tokens, gates, bias))
    assert torch.equal(outputs[0].logits, outputs[1].logits)
    other = open_stream(model, 4, 8)
    other.prefill(torch.arange(4), torch.arange(12).view(4, 3), torch.tensor([3, 2, 1, 3]))
    moved = other.step(tokens, torch.tensor([[1.0, 0.0, 0.0]] * 4), torch.zeros(4))
    assert (moved.logits - outputs[0].logits).abs().max() > 0.01


def test_a_row_does_not_depend_on_the_rows_beside_it():
    model = make_gated(position_embedding_type="rotary")
    tokens = torch.tensor([[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    lengths = torch.tensor([3, 1, 2])
    gates = torch.rand(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    together = open_stream(model, 3, 8)
    together.prefill(torch.arange(3), tokens, lengths)
    batched = together.step(torch.tensor([10, 11, 12]), gates, gates[:, 1])
    for row in range(3):
        alone = open_stream(model, 1, 8)
        alone.prefill(torch.tensor([0]), tokens[row : row + 1], lengths[row : row + 1])
        single = alone.step(torch.tensor([10 + row]), gates[row : row + 1], gates[row : row + 1, 1])
        torch.testing.assert_close(batched.logits[row], single.logits[0], rtol=1e-12, atol=1e-12)


def test_a_sliding_window_that_the_text_outgrows_is_refused():
    config = LlamaConfig(
        vocab_size=VOCAB_SIZE, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4
    )
    config.sliding_window = 8
    model = LlamaForCausalLM(config)
    assert open_stream(model, 1, 7).capacity == 7
    with pytest.raises(InvalidValueError, match="`capacity` must be below the 8 tokens of .* window. Received 8"):
        open_stream(model, 1, 8)
