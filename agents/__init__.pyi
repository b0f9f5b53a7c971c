from .analysis.analysis import Analysis as Analysis, analyze as analyze
from .analysis.config import AnalysisConfig as AnalysisConfig
from .baselines.baselines import (
    Fixed as Fixed,
    Neutral as Neutral,
    Random as Random,
)
from .baselines.decoders import Decoder as Decoder, decoder as decoder
from .baselines.oracle import OneStepOracle as OneStepOracle
from .baselines.planner import Planner as Planner
from .baselines.tuning import (
    Tuning as Tuning,
    read_tuning as read_tuning,
    tune as tune,
)
from .baselines.tuning_strategies import TPE as TPE, SuccessiveHalving as SuccessiveHalving
from .episodes.agent import Agent as Agent
from .episodes.env_config import EnvConfig as EnvConfig
from .episodes.episodes import Episodes as Episodes, run_episodes as run_episodes
from .episodes.sb3_adapter import VectorEnvToSB3 as VectorEnvToSB3
from .episodes.stories import Story as Story, tell_story as tell_story
from .evaluation.evaluation import (
    Evaluation as Evaluation,
    evaluate as evaluate,
    paired_difference as paired_difference,
)
from .evaluation.text_measures import (
    TextMeasures as TextMeasures,
    compare_distances as compare_distances,
)
from .evaluation.text_measures_config import TextMeasuresConfig as TextMeasuresConfig
from .generation.gated_generation import GatedGeneration as GatedGeneration, generate_tokens as generate_tokens
from .policy.beta_policy import BetaDistribution as BetaDistribution, BetaPolicy as BetaPolicy
from .policy.controller import Controller as Controller
from .training.config import (
    ConstraintConfig as ConstraintConfig,
    PPOConfig as PPOConfig,
    TrainConfig as TrainConfig,
    WarmStartConfig as WarmStartConfig,
)
from .training.constrained_ppo.ppo_lagrangian import PPOLagrangian as PPOLagrangian
from .training.learning_curve import TrainingProgress as TrainingProgress
from .training.run import train as train
