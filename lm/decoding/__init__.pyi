from .logits_processors import (
    AdapTLogitsProcessor as AdapTLogitsProcessor,
    EDTLogitsProcessor as EDTLogitsProcessor,
    MirostatV2LogitsProcessor as MirostatV2LogitsProcessor,
    TopNSigmaLogitsProcessor as TopNSigmaLogitsProcessor,
)
from .sampling import inverse_cdf_sample as inverse_cdf_sample, top_k as top_k, top_p_mask as top_p_mask
