from .config import (
    DataConfig as DataConfig,
)
from .config import (
    ModelConfig as ModelConfig,
)
from .config import (
    PretrainConfig as PretrainConfig,
)
from .config import (
    TrainingConfig as TrainingConfig,
)
from .run import PretrainResult as PretrainResult
from .run import pretrain as pretrain
