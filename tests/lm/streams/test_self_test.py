"""Models that can be read token by token, and models that are refused by name, each with what is wrong with it."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from lm.errors import ModelFolderError
from lm.model_names import resolve
from lm.models.bundle import load_model
from lm.models.self_test import require_causal
from lm.models.text_config import context_length_of, vocab_size_of
from lm.streams import self_test
from lm.streams.opening import open_stream

SHAPE = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "pad_token_id": 1,
}
BAMBA = {"num_key_value_heads": 2, "mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_n_groups": 1}


def make(model_type, **changes):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **{**SHAPE, **changes})).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.25)
    return model


def test_a_model_of_text_and_images():
    """Its sizes stand in `text_config`."""
    text = SHAPE | {"num_key_value_heads": 2, "head_dim": 8, "sliding_window": 16}
    vision = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2,
              "image_size": 28, "patch_size": 14}  # fmt: skip
    config = AutoConfig.for_model("gemma3", text_config=text, vision_config=vision, mm_tokens_per_image=4)
    model = AutoModelForCausalLM.from_config(config).eval()
    assert (context_length_of(model), vocab_size_of(model)) == (64, 64)
    ids = torch.tensor([[5, 9, 11, 13]])
    stream = open_stream(model, 1, 10)
    stream.prefill(torch.tensor([0]), ids[:, :3], torch.tensor([3]))
    torch.testing.assert_close(stream.step(ids[:, 3]).logits, model(ids).logits[:, -1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("model_type", "changes", "reason"),
    [
        ("roberta", {"is_decoder": True}, "differ"),
        ("camembert", {"is_decoder": True}, "differ"),
        ("falcon", {"alibi": True}, "it raises|differ|bias"),
        ("openai-gpt", {}, "it raises"),
        ("jamba", {"num_key_value_heads": 2}, "keep a recurrent state instead of keys and values"),
        ("bamba", BAMBA, "keep a recurrent state instead of keys and values"),
        ("lfm2", {"num_key_value_heads": 2, "layer_types": ["conv", "full_attention"]}, "keep a recurrent state"),
        ("rwkv", {"attention_hidden_size": 32}, "differ|it raises"),
        ("bart", {"d_model": 32, "decoder_attention_heads": 4, "decoder_ffn_dim": 48, "decoder_layers": 2}, "differ"),
    ],
)
def test_refused_by_name(model_type, changes, reason):
    model = make(model_type, **changes)
    for _ in range(2):
        with pytest.raises(ModelFolderError) as refused:
            open_stream(model, 2, 12)
        named = f"A model of architecture '{model_type}' .* cannot be run token by token here"
        assert refused.match(f"{named}: .*({reason})")
        assert "\n" not in str(refused.value)


def test_a_model_that_sees_what_follows():
    with pytest.raises(ModelFolderError, match="'bert' .* its predictions change with the text that follows"):
        require_causal(make("bert"))


def test_rotary_embeddings_that_change_with_the_length_of_the_text():
    """Refused only for streams that reach the change."""
    stretched = {"rope_type": "longrope", "factor": 4.0, "rope_theta": 10000.0, "original_max_position_embeddings": 16}
    factors = {"short_factor": [1.0] * 4, "long_factor": [4.0] * 4}
    model = make("llama", rope_parameters=stretched | factors)
    assert open_stream(model, 1, 12).capacity == 12
    with pytest.raises(ModelFolderError, match="'llama' .* predictions change with the length of the text, up to 40"):
        open_stream(model, 1, 40)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("model_type", ["llama", "gpt2", "qwen3", "gpt_neox"])
def test_number_formats_are_not_taken_for_faults(model_type, dtype):
    model = make(model_type, num_key_value_heads=2).to(dtype)
    require_causal(model)
    assert open_stream(model, 2, 24).capacity == 24
    with pytest.raises(ModelFolderError):
        open_stream(make("roberta", is_decoder=True).to(dtype), 2, 24)


def test_random_states_stay_and_the_test_is_made_once(monkeypatch):
    model, state = make("llama"), torch.random.get_rng_state()
    tested = []
    monkeypatch.setattr(self_test, "_compare_with_whole_texts", lambda *_, **__: tested.append(1))
    for capacity in (12, 12, 8, 20):
        open_stream(model, 2, capacity)
    monkeypatch.undo()
    open_stream(model, 2, 24)
    assert len(tested) == 2 and torch.equal(torch.random.get_rng_state(), state)


def test_nan_predictions_are_named():
    model = make("llama")
    model.lm_head.weight.data[3] = torch.nan
    with pytest.raises(ModelFolderError, match="'llama' .* its predictions are NaN"):
        require_causal(model)


def test_no_own_defect_is_renamed(monkeypatch):
    model = load_model(resolve("tidal-tiny"))
    monkeypatch.setattr("lm.streams.gated.GatedStream.prefill", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        open_stream(model, 2, 12)
