"""Environments are pickled as their arguments: the model is loaded again by its name, and the episode is new."""

from __future__ import annotations

from typing import Any

from gymnasium.utils import EzPickle


class MadeAgain(EzPickle):
    """Gymnasium's EzPickle, which also keeps the specification that ``gymnasium.make`` has given to an environment."""

    spec: Any

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "spec": self.spec}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.spec = state["spec"]
