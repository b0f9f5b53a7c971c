from .analysis.analysis import Analysis as Analysis
from .analysis.analysis import analyze as analyze
from .analysis.config import AnalysisConfig as AnalysisConfig
from .baselines.baselines import (
    Fixed as Fixed,
)
from .baselines.baselines import (
    Neutral as Neutral,
)
from .baselines.baselines import (
    Random as Random,
)
from .baselines.baselines import (
    StaticTuning as StaticTuning,
)
from .baselines.baselines import (
    tune_static as tune_static,
)
from .baselines.decoder_tuning import DecoderTuning as DecoderTuning
from .baselines.decoder_tuning import tune_decoder as tune_decoder
from .baselines.decoders import Decoder as Decoder
from .baselines.decoders import decoder as decoder
from .baselines.oracle import OneStepOracle as OneStepOracle
from .baselines.planner import Planner as Planner
from .episodes.agent import Agent as Agent
from .episodes.env_config import EnvConfig as EnvConfig
from .episodes.sb3_adapter import VectorEnvToSB3 as VectorEnvToSB3
from .evaluation.evaluation import (
    Evaluation as Evaluation,
)
from .evaluation.evaluation import (
    evaluate as evaluate,
)
from .evaluation.evaluation import (
    paired_difference as paired_difference,
)
from .evaluation.text_measures import (
    TextMeasures as TextMeasures,
)
from .evaluation.text_measures import (
    TextMeasuresConfig as TextMeasuresConfig,
)
from .evaluation.text_measures import (
    compare_distances as compare_distances,
)
from .generation.gated_generation import GatedGeneration as GatedGeneration
from .generation.gated_generation import generate_tokens as generate_tokens
from .policy.beta_policy import BetaDistribution as BetaDistribution
from .policy.beta_policy import BetaPolicy as BetaPolicy
from .policy.controller import Controller as Controller
from .training.config import (
    ConstraintConfig as ConstraintConfig,
)
from .training.config import (
    PPOConfig as PPOConfig,
)
from .training.config import (
    TrainConfig as TrainConfig,
)
from .training.config import (
    WarmStartConfig as WarmStartConfig,
)
from .training.constrained_ppo.ppo_lagrangian import PPOLagrangian as PPOLagrangian
from .training.learning_curve import TrainingProgress as TrainingProgress
from .training.run import train as train
