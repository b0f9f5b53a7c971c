from .logits_processors import (
    AdapTLogitsProcessor as AdapTLogitsProcessor,
)
from .logits_processors import (
    EDTLogitsProcessor as EDTLogitsProcessor,
)
from .logits_processors import (
    MirostatV2LogitsProcessor as MirostatV2LogitsProcessor,
)
from .logits_processors import (
    TopNSigmaLogitsProcessor as TopNSigmaLogitsProcessor,
)
from .sampling import inverse_cdf_sample as inverse_cdf_sample
from .sampling import top_k as top_k
from .sampling import top_p_mask as top_p_mask
