"""Pickles environments by their arguments: a copy loads the model by name and starts a new episode."""

from __future__ import annotations

from typing import Any

from gymnasium.utils import EzPickle


class MadeAgain(EzPickle):
    """Gymnasium's EzPickle that also keeps the spec that ``gymnasium.make`` has set."""

    spec: Any

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "spec": self.spec}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.spec = state["spec"]
