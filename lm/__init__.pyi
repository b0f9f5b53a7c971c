from .errors import (
    CheckpointError as CheckpointError,
    DivergedError as DivergedError,
    InvalidValueError as InvalidValueError,
    MissingExtraError as MissingExtraError,
    ModelFolderError as ModelFolderError,
    OutputExistsError as OutputExistsError,
    RunInUseError as RunInUseError,
    TidalGymError as TidalGymError,
)
from .model_names import bundled_models as bundled_models
