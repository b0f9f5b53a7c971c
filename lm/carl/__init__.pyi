from .agent import AgentStep as AgentStep
from .agent import agent_step as agent_step
from .constants import (
    DEFECT_THRESHOLD as DEFECT_THRESHOLD,
)
from .constants import (
    KAPPA as KAPPA,
)
from .constants import (
    KAPPA_SIGMA as KAPPA_SIGMA,
)
from .constants import (
    SIGMA as SIGMA,
)
from .constants import (
    t_star as t_star,
)
from .field import TokenField as TokenField
from .field import compute_phi as compute_phi
from .field import token_field as token_field
from .gates import (
    GateDecision as GateDecision,
)
from .gates import (
    PhaseTransitionGate as PhaseTransitionGate,
)
from .gates import (
    coherence_gate as coherence_gate,
)
from .grpo_reward import CarlGRPOReward as CarlGRPOReward
from .incremental import GrowingReward as GrowingReward
from .new_grams import novelty as novelty
from .options import CarlWeights as CarlWeights
from .phases import PhaseAdaptiveWeights as PhaseAdaptiveWeights
from .phases import kuramoto_order as kuramoto_order
from .reward import carl_reward as carl_reward
from .scores import (
    cloud_quality as cloud_quality,
)
from .scores import (
    discontinuity_score as discontinuity_score,
)
from .scores import (
    multiscale_coherence as multiscale_coherence,
)
from .training_config import CarlTrainConfig as CarlTrainConfig
