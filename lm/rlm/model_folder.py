"""The grammar beside a model that was trained on it."""

from __future__ import annotations

from pathlib import Path

import torch

from lm.errors import ModelFolderError
from lm.model_names import resolve
from lm.rlm.grammar import FILE_NAME, RandomGrammar


def load_grammar_of(model: str, dtype: torch.dtype = torch.float64) -> RandomGrammar:
    """The grammar in a model's folder.

    Args:
        model: a bundled name or a folder, as :func:`lm.models.bundle.load_bundle` takes it.
        dtype: of the rules.

    Raises:
        ModelFolderError: there is none.
        InvalidValueError: the file is damaged.
    """
    path = Path(resolve(model)) / FILE_NAME
    if not path.is_file():
        raise ModelFolderError(
            f"The model '{model}' has no grammar ({path} does not exist). Take one trained by `tidal rlm train`, or "
            "the bundled `rlm-tiny`."
        )
    return RandomGrammar.load(path, dtype=dtype)
