"""Tiny configs of any architecture of transformers: class defaults with small sizes."""

from __future__ import annotations

import re
from typing import Any

from transformers import CONFIG_MAPPING, PreTrainedConfig

SIZES: dict[int, str] = {
    64: r"max_position_embeddings|n_positions|max_seq_len|max_sequence_length|seq_length|max_(target|source)_positions"
        r"|context_length|n_ctx|.*vocab_size.*|n_vocab|num_embeddings",
    48: r".*intermediate_size.*|.*ffn_dim.*|ffn_hidden_size|d_ff|n_inner|dim_ff|dff|d_inner|intermediate_dim|dense_dim"
        r"|expert_ffn_hidden_size|.*intermediate_dim",
    32: r"hidden_size|d_model|n_embd|model_dim|dim|emb_dim|embedding_size|embed_dim|word_embed_proj_dim|hidden_dim"
        r"|attention_hidden_size|lru_width|dim_model|backbone_hidden_size|.*original_max_position_embeddings"
        r"|hidden_size_(global|local)|n_embed|rms_norm_hidden",
    28: r"image_size",
    16: r".*sliding_window.*|window_size|attention_window|attention_chunk_size|local_attention|.*lora_rank",
    14: r"patch_size",
    8: r"head_dim|attention_head_dim|.*kv_channels|d_kv|global_head_dim|.*v_head_dim|.*qk_nope_head_dim|swa_head_dim"
       r"|.*qk_rope_head_dim|rotary_dim|index_head_dim|.*mamba_(n|num)_heads|linear_num_(key|value)_heads|mamba_d_head"
       r"|mamba_d_state|ssm_state_size|state_size|mamba_head_dim|linear_(key|value)_head_dim|hidden_size_per_layer_input",
    4: r"num_hidden_layers|n_layers?|num_layers|.*(encoder|decoder)_layers|num_(encoder|decoder)_layers|depth"
       r"|num_attention_heads|n_heads?|num_heads|.*attention_heads|num_query_heads|.*num_hidden_layers.*"
       r"|num_experts|n_routed_experts|num_local_experts|moe_num_experts|num_moe_experts|ffn_num_experts|index_n_heads",
    2: r".*num_key_value_heads|n_kv_heads|num_kv_heads|multi_query_group_num|num_codebooks|moe_topk|moe_k|top_k_experts"
       r"|num_experts_per_(tok|token)|num_selected_experts|moe_top_k|index_topk_freq|num_kv_shared_layers",
    1: r"n_group|topk_group|n_shared_experts|num_shared_experts|moe_num_shared_experts|mamba_n_groups|n_groups"
       r"|first_k_dense_replace|num_dense_layers|mamba_ngroups",
}  # fmt: skip
"""Sizes, with the names of the config fields that are limited to them."""

SPECIAL = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}

MISSING = {"num_key_value_heads": 2, "head_dim": 8, "intermediate_size": 48, "moe_intermediate_size": 16,
           "n_routed_experts": 4, "num_experts_per_tok": 2, "n_shared_experts": 1}  # fmt: skip
"""Values of required fields with the default None."""

PER_LAYER = ("layer_types", "mlp_layer_types", "per_layer_config", "layers_block_type", "mlp_only_layers",
             "no_rope_layers", "num_attention_heads_per_layer", "kv_sharing_modes", "activation_sparsity_pattern",
             "moe_layers")  # fmt: skip
"""Fields with one value per layer, which the class recomputes for fewer layers."""

ROPE = {"rope_type": "default", "rope_theta": 10000.0}

OVERRIDES: dict[str, dict[str, Any]] = {
    "xlnet": {"d_head": 8},
    "xmod": {"default_language": "en_XX"},
    "qwen4_exp_text": {"indexer_budget": 16, "indexer_compress_ratio": 4},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]], "attention_layers": ["global", "local"] * 2},
    "mamba2": {"num_heads": 8, "head_dim": 8, "expand": 2},
    "falcon_h1": {"mamba_d_ssm": 64, "mamba_n_heads": 8, "mamba_d_head": 8},
    "reformer": {"axial_pos_shape": [8, 8], "axial_pos_embds_dim": [16, 16], "attn_layers": ["local", "lsh"] * 2},
    "cohere_compass_text": {"layer_types": ["sliding_attention"] * 3 + ["full_attention"],
                            "rope_parameters": dict.fromkeys(("sliding_attention", "full_attention"), ROPE)},
    "lfm2": {"layer_types": ["conv", "full_attention"] * 2},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 2},
    "longcat_flash": {"head_dim": 8, "qk_head_dim": 16},
}
"""Additional fields by model type."""


def tiny_config(model_type: str) -> PreTrainedConfig:
    """A config of a model of a few thousand parameters, as a decoder if the class supports it."""
    kind = CONFIG_MAPPING[model_type]
    values = _shrunk(kind().to_dict(), kind)
    if "is_decoder" in values:
        values["is_decoder"] = True
    return kind(**{**values, **OVERRIDES.get(model_type, {})})


def _shrunk(values: dict[str, Any], kind: type[PreTrainedConfig]) -> dict[str, Any]:
    names = {**{own: own for own in values}}
    shrunk = {}
    for name in names:
        value = values[name]
        general = {own: other for other, own in kind.attribute_map.items()}.get(name, name)
        if name in (*PER_LAYER, "model_type", "transformers_version", "architectures", "dtype"):
            continue
        if "kv_lora_rank" in values and general == "num_key_value_heads":
            shrunk[name] = 4  # multi-head latent attention has as many as it has queries
            continue
        if value is None and name in MISSING:
            shrunk[name] = MISSING[name]
            continue
        if name == "intermediate_size" and isinstance(value, list):
            value = value[0]
        if isinstance(value, dict) and name in kind.sub_configs:
            sub = kind.sub_configs[name]
            if not hasattr(sub, "attribute_map") or ("model_type" in value and value["model_type"] in CONFIG_MAPPING):
                sub = CONFIG_MAPPING[value["model_type"]]
            shrunk[name] = {**_shrunk(value, sub), "model_type": value.get("model_type", "")}
        elif name in SPECIAL or (name.endswith("token_id") and isinstance(value, int)):
            shrunk[name] = SPECIAL.get(name, 3)
        elif isinstance(value, int) and not isinstance(value, bool) and (size := _size(name, general)) is not None:
            shrunk[name] = min(size, value) if value > 0 else value
        else:
            shrunk[name] = value
    return shrunk


def _size(*names: str) -> int | None:
    return next((size for size, pattern in SIZES.items() for name in names if re.fullmatch(pattern, name)), None)
