from .abstention import GateDecision as GateDecision, coherence_gate as coherence_gate
from .agent import AgentStep as AgentStep, agent_step as agent_step
from .constants import (
    DEFECT_THRESHOLD as DEFECT_THRESHOLD,
    KAPPA as KAPPA,
    KAPPA_SIGMA as KAPPA_SIGMA,
    SIGMA as SIGMA,
    t_star as t_star,
)
from .field import TokenField as TokenField, compute_phi as compute_phi, token_field as token_field
from .incremental import GrowingReward as GrowingReward
from .new_grams import novelty as novelty
from .options import CarlWeights as CarlWeights
from .phases import PhaseAdaptiveWeights as PhaseAdaptiveWeights, kuramoto_order as kuramoto_order
from .reward import carl_reward as carl_reward
from .scores import (
    cloud_quality as cloud_quality,
    discontinuity_score as discontinuity_score,
    multiscale_coherence as multiscale_coherence,
)
from .training.config import (
    CarlDataConfig as CarlDataConfig,
    CarlTrainConfig as CarlTrainConfig,
    FineTuningConfig as FineTuningConfig,
    PolicyConfig as PolicyConfig,
)
from .training.grpo_reward import CarlGRPOReward as CarlGRPOReward
from .training.phase_transition_gate import PhaseTransitionGate as PhaseTransitionGate
from .training.run import CarlTrainResult as CarlTrainResult, train as train
