from .config import (
    ExamplesConfig as ExamplesConfig,
    GrammarConfig as GrammarConfig,
    OptimizationConfig as OptimizationConfig,
    RLMConfig as RLMConfig,
    SweepConfig as SweepConfig,
)
from .grammar import RandomGrammar as RandomGrammar
from .inference import (
    masked_leaf_posterior as masked_leaf_posterior,
    next_leaf_posterior as next_leaf_posterior,
    root_posterior as root_posterior,
)
from .model_folder import load_grammar_of as load_grammar_of
from .statistics import (
    SentenceEntropy as SentenceEntropy,
    leaf_distribution as leaf_distribution,
    mutual_information as mutual_information,
    pair_distribution as pair_distribution,
    pair_statistics as pair_statistics,
    rule_statistics as rule_statistics,
    sentence_entropy as sentence_entropy,
)
from .sweep import run_sweep as run_sweep
from .tasks import Task as Task, make_task as make_task
from .training import RLMResult as RLMResult, train_on_grammar as train_on_grammar
