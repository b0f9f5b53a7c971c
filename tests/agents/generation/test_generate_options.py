"""Options of transformers' `generate` with gated generation: honoured, or refused by name; none is swallowed."""

from __future__ import annotations

from threading import Thread

import pytest
import torch
from transformers import (
    GenerationConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
    SuppressTokensLogitsProcessor,
    TextIteratorStreamer,
)
from transformers.generation import BaseStreamer

from agents.baselines.baselines import Fixed, Neutral
from agents.generation.gated_generation import GatedGeneration
from agents.generation.options import HONOURED, require_honoured
from lm.errors import InvalidValueError
from lm.models.bundle import load_bundle

REFUSED = {
    "do_sample": False, "early_stopping": True, "num_beams": 4, "use_mtp": True, "use_cache": False,
    "cache_implementation": "static", "cache_config": {"a": 1}, "max_cache_len": 7, "temperature": 0.7, "top_k": 3,
    "top_p": 0.5, "min_p": 0.1, "top_h": 0.4, "typical_p": 0.9, "epsilon_cutoff": 1e-3, "eta_cutoff": 1e-3,
    "repetition_penalty": 1.2, "encoder_repetition_penalty": 1.2, "length_penalty": 2.0, "renormalize_logits": True,
    "token_healing": True, "guidance_scale": 1.5, "output_attentions": True, "output_hidden_states": True,
    "output_scores": True, "output_logits": True, "encoder_no_repeat_ngram_size": 2, "decoder_start_token_id": 3,
    "is_assistant": True, "num_assistant_tokens": 3, "num_assistant_tokens_schedule": "heuristic",
    "assistant_confidence_threshold": 0.1, "prompt_lookup_num_tokens": 2, "max_matching_ngram_size": 2,
    "assistant_early_exit": 1, "assistant_lookbehind": 3, "target_lookbehind": 3, "assistant_ensemble_weight": 0.5,
    "disable_compile": True, "low_memory": True, "penalty_alpha": 0.6,
    "dola_layers": "low", "diversity_penalty": 0.5, "num_beam_groups": 2, "prefill_chunk_size": 4,
}  # fmt: skip
ARE_OBJECTS = {
    "watermarking_config", "speculation_type", "compile_config", "continuous_batching_config", "constraints",
    "force_words_ids",
}  # fmt: skip
PROMPT = torch.tensor([[5, 6, 7]])


@pytest.fixture(scope="module")
def model() -> GPT2LMHeadModel:
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=60, n_embd=24, n_layer=1, n_head=2, n_positions=64, bos_token_id=0, eos_token_id=0)
    return GPT2LMHeadModel(config).eval()


def generate(model, prompt=PROMPT, agent=None, **options):
    torch.manual_seed(1)
    arguments = {"attention_mask": torch.ones_like(prompt), "max_new_tokens": 6, "pad_token_id": 1}
    gated = GatedGeneration(agent or Neutral(), 3.0, {"top_k": 60})
    return model.generate(prompt, custom_generate=gated, **(arguments | options))


def test_every_field_of_a_generation_config_is_honoured_or_refused() -> None:
    fields = {name for name in vars(GenerationConfig()) if not name.startswith("_")} - {"transformers_version"}
    assert fields == HONOURED | REFUSED.keys() | ARE_OBJECTS


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_have_no_effect_is_refused(model, name) -> None:
    with pytest.raises(Exception, match=rf"\b{name}\b|tokenizer|assistant|beam|unsupported|contrastive|cache_impl"):
        generate(model, **{name: REFUSED[name]})


@pytest.mark.parametrize("name", ["num_beams", "temperature", "top_k", "output_scores", "use_cache", "guidance_scale"])
def test_refusals_name_option_and_value(model, name) -> None:
    with pytest.raises(InvalidValueError) as raised:
        generate(model, **{name: REFUSED[name]})
    text = f"`{name}` must not be given to `generate` with gated generation. Received {REFUSED[name]}."
    assert str(raised.value).startswith(text)
    with pytest.raises(InvalidValueError, match=f"^`{name}` must not be given"):
        generate(model, generation_config=GenerationConfig(**{name: REFUSED[name], "max_new_tokens": 6}))


def test_a_field_of_a_later_release_is_refused(model) -> None:
    config = GenerationConfig(max_new_tokens=4)
    config.next_years_option = 3
    with pytest.raises(InvalidValueError, match="^`next_years_option` must not be given"):
        require_honoured(model, config, {})


def test_other_arguments_are_refused(model) -> None:
    for name in ("position_ids", "past_key_values", "token_type_ids"):
        with pytest.raises(InvalidValueError, match=f"^`{name}` must not be given"):
            generate(model, **{name: torch.zeros(1, 3, dtype=torch.int64)})
    with pytest.raises(InvalidValueError, match="^`assistant_model` must not be given"):
        generate(model, assistant_model=model)
    for uniforms in (torch.zeros(2, 6), torch.zeros(1, 5), torch.ones(1, 6), torch.full((1, 6), torch.nan), [[0.5]]):
        with pytest.raises(InvalidValueError, match=r"^`uniforms` must be a tensor of numbers in \[0, 1\) of shape"):
            generate(model, uniforms=uniforms)


def test_sampling_of_the_models_own_config_does_not_apply(model, monkeypatch) -> None:
    expected = generate(model)
    own = GenerationConfig(do_sample=True, temperature=1e-3, top_k=1, top_p=0.1, bos_token_id=0, eos_token_id=0)
    monkeypatch.setattr(model, "generation_config", own)
    assert torch.equal(generate(model), expected)
    assert torch.equal(generate(model, do_sample=True), expected)


def test_lengths(model) -> None:
    prompt = PROMPT.repeat(50, 1)
    ends_early = generate(model, prompt, max_new_tokens=30)
    assert (ends_early == 0).any()
    for options in ({"min_new_tokens": 30}, {"min_length": 33}):
        output = generate(model, prompt, max_new_tokens=30, **options)
        assert output.shape == (50, 33)
        assert not (output == 0).any()
    assert generate(model, max_new_tokens=None, max_length=5, min_length=5).shape == (1, 5)
    assert generate(model, num_return_sequences=3, do_sample=True, min_new_tokens=6).shape == (3, 9)
    assert generate(model, max_time=0.0, max_new_tokens=40).shape[1] == 4
    record = generate(model, return_dict_in_generate=True)
    assert torch.equal(record.sequences, generate(model))


def test_logits_are_constrained_as_usual(model) -> None:
    prompt = PROMPT.repeat(50, 1)
    banned = [0, *range(10, 60)]
    drawn = generate(model, prompt, suppress_tokens=banned)[:, 3:]
    assert set(drawn.unique().tolist()) == set(range(1, 10))
    drawn = generate(model, prompt, bad_words_ids=[[token] for token in banned])[:, 3:]
    assert drawn.max() < 10
    processor = LogitsProcessorList([SuppressTokensLogitsProcessor(banned)])
    assert generate(model, prompt, logits_processor=processor)[:, 3:].max() < 10
    assert (generate(model, forced_eos_token_id=4, suppress_tokens=[0])[:, -1] == 4).all()
    assert generate(model, prefix_allowed_tokens_fn=lambda row, ids: [8])[0].tolist() == [5, 6, 7] + [8] * 6
    ngrams = generate(model, prompt, no_repeat_ngram_size=1, suppress_tokens=[0])
    assert all(len(set(row.tolist())) == 9 for row in ngrams)


def test_a_processor_reads_the_text_as_it_grows(model) -> None:
    class Count(LogitsProcessor):
        def __call__(self, input_ids, scores):
            only = torch.full_like(scores, -torch.inf)
            only[:, 10 + input_ids.shape[1]] = 0.0
            return only

    output = generate(model, logits_processor=LogitsProcessorList([Count()]), agent=Fixed((1.0, 0.5, 1.0)))
    assert output[0].tolist() == [5, 6, 7, 13, 14, 15, 16, 17, 18]


def test_stopping_criteria_stop(model) -> None:
    class After(StoppingCriteria):
        def __call__(self, input_ids, scores, **kwargs):
            return torch.full((len(input_ids),), input_ids.shape[1] >= 5)

    output = generate(model, stopping_criteria=StoppingCriteriaList([After()]), suppress_tokens=[0])
    assert output.shape == (1, 5)


def test_stop_strings_stop() -> None:
    bundle = load_bundle("tidal-tiny")
    prompt = bundle.tokenizer("The dog", return_tensors="pt").input_ids
    options = {"suppress_tokens": [bundle.eos_token_id], "max_new_tokens": 40}
    text = bundle.tokenizer.decode(generate(bundle.model, prompt, **options)[0, prompt.shape[1] :])
    stop = text[10:14]
    ids = generate(bundle.model, prompt, tokenizer=bundle.tokenizer, stop_strings=[stop], **options)
    stopped = bundle.tokenizer.decode(ids[0, prompt.shape[1] :])
    assert stop in stopped
    assert text.startswith(stopped)
    assert len(stopped) < len(text)
    with pytest.raises(ValueError, match="tokenizer"):
        generate(bundle.model, prompt, stop_strings=[stop], **options)


def test_streamers_get_prompt_and_tokens(model) -> None:
    class Kept(BaseStreamer):
        def __init__(self) -> None:
            self.put_ids: list[list[int]] = []
            self.is_over = False

        def put(self, value):
            self.put_ids.append(value.flatten().tolist())

        def end(self):
            self.is_over = True

    kept = Kept()
    output = generate(model, streamer=kept)
    assert ([token for ids in kept.put_ids for token in ids], kept.is_over) == (output[0].tolist(), True)
    refused = Kept()
    with pytest.raises(InvalidValueError, match="num_beams"):
        generate(model, streamer=refused, num_beams=2)
    assert refused.is_over  # a reader in another thread would wait for ever


def test_text_can_be_read_while_it_is_written() -> None:
    bundle = load_bundle("tidal-tiny")
    prompt = bundle.tokenizer("The dog", return_tensors="pt").input_ids
    streamer = TextIteratorStreamer(bundle.tokenizer, skip_prompt=True, skip_special_tokens=True, timeout=60)
    found = []
    writer = Thread(target=lambda: found.append(generate(bundle.model, prompt, streamer=streamer)))
    writer.start()
    text = "".join(streamer)
    writer.join()
    assert text == bundle.tokenizer.decode(found[0][0, prompt.shape[1] :], skip_special_tokens=True)
