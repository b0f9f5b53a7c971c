from .config import (
    DataConfig as DataConfig,
    PretrainConfig as PretrainConfig,
    TrainingConfig as TrainingConfig,
)
from .run import PretrainResult as PretrainResult, pretrain as pretrain
