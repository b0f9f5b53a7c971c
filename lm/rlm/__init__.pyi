from .config import (
    ExamplesConfig as ExamplesConfig,
)
from .config import (
    GrammarConfig as GrammarConfig,
)
from .config import (
    OptimizationConfig as OptimizationConfig,
)
from .config import (
    RLMConfig as RLMConfig,
)
from .grammar import RandomGrammar as RandomGrammar
from .inference import (
    masked_leaf_posterior as masked_leaf_posterior,
)
from .inference import (
    next_leaf_posterior as next_leaf_posterior,
)
from .inference import (
    root_posterior as root_posterior,
)
from .statistics import (
    mutual_information as mutual_information,
)
from .statistics import (
    pair_statistics as pair_statistics,
)
from .statistics import (
    rule_statistics as rule_statistics,
)
from .statistics import (
    sentence_entropy as sentence_entropy,
)
from .sweep import SweepConfig as SweepConfig
from .sweep import run_sweep as run_sweep
from .tasks import make_task as make_task
from .training import RLMResult as RLMResult
from .training import train_on_grammar as train_on_grammar
