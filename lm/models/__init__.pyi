from .bundle import (
    Bundle as Bundle,
    load_bundle as load_bundle,
    load_model as load_model,
    load_model_and_tokenizer as load_model_and_tokenizer,
    save_bundle as save_bundle,
)
from .config import ModelConfig as ModelConfig
from .gate_names import GATE_NAMES as GATE_NAMES, NEUTRAL_GATES as NEUTRAL_GATES
from .gated_transformer import DynamicGate as DynamicGate, GatedTransformer as GatedTransformer
from .gated_transformer_config import GatedTransformerConfig as GatedTransformerConfig
from .new_model import build_model as build_model
from .reference_statistics import ReferenceStatistics as ReferenceStatistics
