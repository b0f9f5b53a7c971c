from .bundle import (
    Bundle as Bundle,
)
from .bundle import (
    bundled_models as bundled_models,
)
from .bundle import (
    load_bundle as load_bundle,
)
from .bundle import (
    load_model_and_tokenizer as load_model_and_tokenizer,
)
from .bundle import (
    save_bundle as save_bundle,
)
from .gated_transformer import DynamicGate as DynamicGate
from .gated_transformer import GatedTransformer as GatedTransformer
from .gated_transformer_config import GatedTransformerConfig as GatedTransformerConfig
from .reference_statistics import ReferenceStatistics as ReferenceStatistics
