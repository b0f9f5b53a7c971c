"""Model folders whose files do not belong together, or are damaged: one error that says what is wrong."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel

from lm.errors import ModelFolderError
from lm.models.bundle import load_model, save_bundle
from lm.models.reference_statistics import ReferenceStatistics
from lm.runs.tensors.checksums import write_checksums
from lm.tokenizers.tokenization import load_tokenizer, train_bpe

VOCABULARY = 300


@pytest.fixture
def folder(tmp_path):
    """A GPT-2 of two layers with tied embeddings, as `tidal pretrain` saves it."""
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=VOCABULARY, n_positions=64, n_embd=32, n_layer=2, n_head=2)
    tokenizer = train_bpe(["Once upon a time there was a boat."] * 3, VOCABULARY)
    statistics = ReferenceStatistics.from_tokens(torch.arange(VOCABULARY).numpy(), VOCABULARY, human_entropy=3.0)
    save_bundle(tmp_path / "model", GPT2LMHeadModel(config), tokenizer, statistics)
    return tmp_path / "model"


def change_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_weights(folder, change):
    path = folder / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path, metadata={"format": "pt"})
    write_checksums(folder)


def test_whole(folder):
    assert load_model(str(folder)).num_parameters() > 0
    assert load_tokenizer(str(folder)).model_max_length == 64


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_layer": 3}, r"lacks weights that config.json describes: transformer.h.2.attn.* and 8 more\.$"),
        ({"n_layer": 1}, r"holds weights that config.json does not describe: .*h\.1\.attn.* and 7 more\.$"),
        ({"n_layer": 10**6}, r"lacks weights: config.json states 1000000 layers .* weight files hold \d+ tensors"),
        ({"n_inner": 10**9}, r"lacks weights: config.json describes \d+ numbers, and the weight files hold \d+"),
        ({"n_inner": 64}, r"holds weights of other shapes than config.json describes: .*\(128,\) for \(64,\)"),
        ({"activation_function": "nope"}, "No model could be loaded from .*nope"),
        ({"n_head": 7}, "No model could be loaded from"),
        ({"n_embd": "wide"}, "No model could be loaded from"),
        ({"model_type": "nope"}, "No model could be loaded from .*nope"),
    ],
)
def test_a_config_of_another_model(folder, changes, message):
    change_config(folder, **changes)
    with pytest.raises(ModelFolderError, match=message) as refused:
        load_model(str(folder))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(folder, value):
    change_weights(folder, lambda weights: weights["transformer.h.1.mlp.c_fc.bias"].fill_(value))
    with pytest.raises(ModelFolderError, match=r"that are NaN or infinite: transformer.h.1.mlp.c_fc.bias\."):
        load_model(str(folder))


def test_buffers_and_tied_heads_may_be_there_or_not(folder):
    def add(weights):
        weights["lm_head.weight"] = weights["transformer.wte.weight"].clone()
        weights["transformer.h.0.attn.bias"] = torch.ones(1, 1, 64, 64).tril()

    wanted = load_model(str(folder))(torch.tensor([[3, 4]])).logits
    change_weights(folder, add)
    torch.testing.assert_close(load_model(str(folder))(torch.tensor([[3, 4]])).logits, wanted)


def test_attention_from_elsewhere(folder):
    change_config(folder, attn_implementation="somebody/attention")
    with pytest.raises(ModelFolderError, match=r"names code to download for its attention \(somebody/attention, "):
        load_model(str(folder))


def test_an_adapter_names_another_model(folder):
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "somebody/else", "peft_type": "LORA"}')
    with pytest.raises(ModelFolderError, match="holds an adapter, which names another model to load"):
        load_model(str(folder))


@pytest.mark.parametrize("content", ["{", "[]", '{"model": {"type": "nope"}}', "\x00"])
def test_a_broken_tokenizer(folder, content):
    (folder / "tokenizer.json").write_text(content)
    with pytest.raises(ModelFolderError, match="No tokenizer could be loaded from") as refused:
        load_tokenizer(str(folder))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("value", ["text", [], True, -1, float("nan")])
def test_a_length_that_no_text_has(folder, value):
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_max_length": value}))
    with pytest.raises(ModelFolderError, match="`model_max_length` must be a number, at least 1"):
        load_tokenizer(str(folder))


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff" * 100])
def test_broken_weights(folder, content):
    (folder / "model.safetensors").write_bytes(content)
    write_checksums(folder)
    with pytest.raises(ModelFolderError, match="No model could be loaded from"):
        load_model(str(folder))
