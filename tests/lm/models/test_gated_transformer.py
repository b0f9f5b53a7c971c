import json
import subprocess
import sys

import pytest
import torch
from transformers import AutoModelForCausalLM

from lm.errors import InvalidValueError, ModelFolderError
from lm.models.attention import focus_position_bias
from lm.models.bundle import load_model
from lm.models.gate_names import NEUTRAL_GATES
from lm.models.gated_transformer import DynamicGate, GatedTransformer
from lm.models.gated_transformer_config import GatedTransformerConfig


def make_model(**overrides):
    torch.manual_seed(0)
    config = {
        "vocab_size": 40,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 16,
        "position_embedding_type": "rotary",
    }
    return GatedTransformer(GatedTransformerConfig(**(config | overrides))).eval()


def open_gates(model):
    for name, parameter in model.named_parameters():
        if "gate.project" in name:
            parameter.data += torch.randn_like(parameter)
    return model


TOKENS = torch.tensor([[3, 7, 1, 7, 30, 2, 9, 11], [5, 5, 8, 0, 39, 12, 4, 6]])


def test_tidal_30m_has_30_7_million_parameters():
    with torch.device("meta"):
        model = GatedTransformer(GatedTransformerConfig())
    embeddings = 50257 * 256 + 256 * 256
    gate = 3 * 32 + 32 * 256 + 256
    block = (256 * 768 + 768) + (256 * 256 + 256) + (256 * 1024 + 1024) + (1024 * 256 + 256) + 4 * 256 + 2 * gate
    head = 256 * 50257 + 50257
    assert model.num_parameters() == embeddings + 6 * block + 2 * 256 + head == 30_688_977


def test_gate_scale_by_hand():
    gate = DynamicGate(width=1, hidden_size=1).double()
    gate.expand.weight.data = torch.tensor([[2.0, 1.0, -1.0]], dtype=torch.float64)
    gate.project.weight.data = torch.tensor([[0.5]], dtype=torch.float64)
    gate.project.bias.data = torch.tensor([2.0], dtype=torch.float64)
    # W1 (g - neutral) = 2 * 0.5 + 1 * 0.4 - 1 * 0.2 = 1.2; relu; * 0.5 = 0.6; sigmoid(2.6) / sigmoid(2.0)
    scale = gate(torch.tensor([1.0, 0.4, 0.2], dtype=torch.float64))
    assert scale.item() == pytest.approx(0.9308615796566533 / 0.8807970779778823, abs=1e-12)


def test_a_new_model_ignores_gates_and_a_trained_one_ignores_only_neutral_ones():
    model = make_model()
    plain = model(TOKENS).logits
    signals = torch.rand(2, 3, generator=torch.Generator().manual_seed(1))
    assert torch.equal(model(TOKENS, gate_signals=signals).logits, plain)
    open_gates(model)
    assert torch.equal(model(TOKENS, gate_signals=torch.tensor([NEUTRAL_GATES] * 2)).logits, plain)
    assert (model(TOKENS, gate_signals=signals).logits - plain).abs().max() > 1e-3


def test_gates_by_sequence_by_segment_and_by_token_agree():
    model = open_gates(make_model()).double()
    by_segment = torch.rand(2, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    by_token = by_segment.repeat_interleave(2, dim=1)
    torch.testing.assert_close(
        model(TOKENS, gate_signals=by_segment).logits, model(TOKENS, gate_signals=by_token).logits
    )
    whole = by_segment[:, 0]
    torch.testing.assert_close(
        model(TOKENS, gate_signals=whole).logits, model(TOKENS, gate_signals=whole[:, None].expand(-1, 8, -1)).logits
    )


def test_focus_bias_by_hand():
    bias = focus_position_bias(torch.tensor([3.0]), torch.tensor([[0, 1, 2]]), num_keys=3)
    # -3 (i - j) / max(i, 1); keys after the query are masked elsewhere
    assert torch.tril(bias[0, 0]).tolist() == [[0, 0, 0], [-3, 0, 0], [-3, -1.5, 0]]


@pytest.mark.parametrize("position_embedding_type", ["rotary", "learned"])
def test_written_out_attention_equals_the_fused_one(position_embedding_type):
    model = make_model(position_embedding_type=position_embedding_type).double()
    arguments = {"focus_bias": torch.tensor([1.5, 0.0], dtype=torch.float64)}
    fused = model(TOKENS, **arguments).logits
    model.set_attn_implementation("eager")
    output = model(TOKENS, output_attentions=True, output_hidden_states=True, **arguments)
    torch.testing.assert_close(output.logits, fused)
    assert len(output.attentions) == 2 and len(output.hidden_states) == 3
    torch.testing.assert_close(output.attentions[0].sum(dim=-1), torch.ones(2, 4, 8, dtype=torch.float64))


def test_generate_with_cache_equals_without_and_left_padding_changes_nothing():
    model = open_gates(make_model(pad_token_id=0))
    arguments = {"max_new_tokens": 6, "do_sample": False, "gate_signals": torch.tensor([[0.9, 0.1, 0.7]])}
    cached = model.generate(TOKENS[:1], **arguments)
    assert torch.equal(cached, model.generate(TOKENS[:1], use_cache=False, **arguments))
    padded = torch.cat((torch.zeros(1, 3, dtype=torch.int64), TOKENS[:1]), dim=1)
    mask = (torch.arange(11) >= 3).long()[None]
    assert torch.equal(model.generate(padded, attention_mask=mask, **arguments)[:, 3:], cached)


def test_saves_and_loads_through_the_auto_classes(tmp_path):
    model = open_gates(make_model(tie_word_embeddings=True, head_bias=False))
    model.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert isinstance(loaded, GatedTransformer)
    assert torch.equal(loaded(TOKENS).logits, model(TOKENS).logits)
    assert loaded.lm_head.weight is loaded.token_embedding.weight


def test_gradients_reach_every_parameter_with_gradient_checkpointing():
    model = open_gates(make_model()).train()
    model.activation_checkpointing_enable()
    signals = torch.rand(2, 3)
    model(TOKENS, gate_signals=signals, labels=TOKENS).loss.backward()
    missing = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert missing == []


def test_loss_is_the_mean_surprisal_of_the_next_token():
    model = make_model()
    output = model(TOKENS, labels=TOKENS)
    log_probs = output.logits[:, :-1].log_softmax(dim=-1)
    expected = -log_probs.gather(2, TOKENS[:, 1:, None]).mean()
    torch.testing.assert_close(output.loss, expected)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"hidden_size": 30}, "`hidden_size` must be divisible by `num_attention_heads` \\(4\\). Received 30."),
        ({"num_hidden_layers": 0}, "`num_hidden_layers` must be at least 1. Received 0."),
        (
            {"position_embedding_type": "alibi"},
            "`position_embedding_type` must be 'rotary' or 'learned'. Received alibi",
        ),
    ],
)
def test_sizes_that_do_not_fit(overrides, message):
    with pytest.raises(InvalidValueError, match=message):
        make_model(**overrides)


def test_gates_for_a_model_without_and_texts_beyond_the_context():
    with pytest.raises(InvalidValueError, match="`gate_signals` must be None for a model without gates"):
        make_model(gated=False)(TOKENS, gate_signals=torch.rand(2, 3))
    for kind in ("learned", "rotary"):
        with pytest.raises(
            InvalidValueError, match="must have at most `max_position_embeddings` \\(16\\) tokens. Received 17"
        ):
            make_model(position_embedding_type=kind)(torch.zeros(1, 17, dtype=torch.int64))


def test_the_body_gives_what_the_output_layer_reads():
    """TRL calls `base_model` and the output layer by themselves."""
    model = make_model().eval()
    gates = torch.rand(2, 3, generator=torch.Generator().manual_seed(0))
    output = model(TOKENS, gate_signals=gates, output_hidden_states=True)
    body = model.base_model(input_ids=TOKENS, gate_signals=gates, use_cache=False)
    assert body.past_key_values is None
    torch.testing.assert_close(body.last_hidden_state, output.hidden_states[-1])
    torch.testing.assert_close(model.get_output_embeddings()(body.last_hidden_state), output.logits)
    assert model.get_decoder() is model


@pytest.mark.parametrize("position_embedding_type", ["rotary", "learned"])
def test_left_padded_rows_without_position_ids_are_read_as_the_unpadded_ones(position_embedding_type):
    """TRL's GRPO pads on the left and gives no position ids."""
    model = make_model(position_embedding_type=position_embedding_type)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    lengths, focus_bias = (8, 5), torch.tensor([2.0, 1.0])
    padded = torch.zeros(2, 11, dtype=torch.int64)
    mask = torch.zeros(2, 11, dtype=torch.int64)
    for row, length in enumerate(lengths):
        padded[row, -length:], mask[row, -length:] = TOKENS[row, :length], 1
    whole = model(padded, attention_mask=mask, focus_bias=focus_bias).logits
    begun = model(padded[:, :8], attention_mask=mask[:, :8], focus_bias=focus_bias, use_cache=True)
    in_parts = model(padded[:, 8:], attention_mask=mask, focus_bias=focus_bias, past_key_values=begun.past_key_values)
    torch.testing.assert_close(in_parts.logits, whole[:, 8:], rtol=1e-5, atol=1e-5)
    for row, length in enumerate(lengths):
        alone = model(TOKENS[row : row + 1, :length], focus_bias=focus_bias[row : row + 1]).logits[0]
        torch.testing.assert_close(whole[row, -length:], alone, rtol=1e-5, atol=1e-5)


LOADS_ELSEWHERE = """
import sys
sys.modules["lm"] = None  # not installed
import torch
from transformers import AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], trust_remote_code=True)
print(type(model).__module__.split(".")[0])
torch.save(model(torch.tensor([[3, 7, 1, 7]])).logits, sys.argv[2])
"""


def test_a_saved_model_loads_in_a_program_without_this_package(tmp_path):
    model = open_gates(make_model(tie_word_embeddings=True, head_bias=False))
    folder, logits = tmp_path / "model", tmp_path / "logits.pt"
    model.save_pretrained(folder)
    command = [sys.executable, "-c", LOADS_ELSEWHERE, str(folder), str(logits)]
    shown = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert shown.stdout.strip() == "transformers_modules"
    torch.testing.assert_close(torch.load(logits), model(torch.tensor([[3, 7, 1, 7]])).logits)


def test_code_in_a_model_folder_is_not_run_here(tmp_path, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked on standard input"))
    make_model().save_pretrained(tmp_path)
    for file in tmp_path.glob("*.py"):
        file.write_text("raise SystemExit('run')")
    assert type(load_model(str(tmp_path))) is GatedTransformer

    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"model_type": "unknown"}))
    with pytest.raises(ModelFolderError, match="No model could be loaded from .* contains custom code"):
        load_model(str(tmp_path))
