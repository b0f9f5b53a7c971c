import sys

import pytest

from lm.errors import MissingExtraError
from lm.extras import require_extra


def test_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    require_extra("json", "none", "Nothing")
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"^Tuning needs the extra `tune`: pip install 'tidal-gym\[tune\]'\."):
        require_extra("optuna", "tune", "Tuning")
