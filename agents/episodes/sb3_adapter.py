"""Adapts a Gymnasium ``VectorEnv`` to a Stable-Baselines3 ``VecEnv``.

The two differ in when they reset an episode and in where they store its last observation. SB3 resets within the step
and reads ``infos[row]["terminal_observation"]``, so the vector env must run with ``AutoresetMode.SAME_STEP``, which
stores it in ``infos["final_obs"]``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from stable_baselines3.common.env_util import is_wrapped
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from lm.errors import InvalidValueError


class VectorEnvToSB3(VecEnv):
    """Adapter to SB3's ``VecEnv``; works under ``VecMonitor`` and ``VecNormalize``.

    Arrays that SB3 keeps or changes in place are copied: observations, terminal observations, and rewards (SB3 adds the
    bootstrap value of truncated episodes). ``infos`` holds a new dictionary per row. For a row whose episode ended it
    has the entries of ``final_info``, those of vector wrappers (``episode``), ``terminal_observation`` and
    ``TimeLimit.truncated``. For other rows it has only ``cost``, if the env has one, which constrained algorithms need
    after each step. :attr:`vector_infos` holds the infos of all rows as the env's arrays, without copying.

    Args:
        vector_env: vector env with SAME_STEP autoreset.

    Raises:
        InvalidValueError: the autoreset mode is not SAME_STEP.
    """

    vector_infos: dict[str, Any]
    """The vector env's infos of the last reset or step."""

    def __init__(self, vector_env: VectorEnv) -> None:
        mode = vector_env.metadata.get("autoreset_mode")
        if mode is None or AutoresetMode(mode) is not AutoresetMode.SAME_STEP:
            hint = "Make the env with `autoreset_mode=gymnasium.vector.AutoresetMode.SAME_STEP`."
            raise InvalidValueError("autoreset_mode", "of the vector env must be SAME_STEP", mode, hint)
        self.vector_env = vector_env
        self.vector_infos = {}
        self._actions: np.ndarray | None = None
        super().__init__(vector_env.num_envs, vector_env.single_observation_space, vector_env.single_action_space)

    def reset(self) -> VecEnvObs:
        """Resets all rows, with the seed and options last given to :meth:`seed` and :meth:`set_options`."""
        options = self._options[0]
        if any(other != options for other in self._options):
            raise InvalidValueError("options", "must be the same for every row of a vector env", self._options)
        # SB3's seeds are seed, seed + 1, ..., as Gymnasium derives them from the first one.
        observations, self.vector_infos = self.vector_env.reset(seed=self._seeds[0], options=options or None)
        self.reset_infos = [_row_infos(self.vector_infos, row) for row in range(self.num_envs)]
        self._reset_seeds()
        self._reset_options()
        return deepcopy(observations)

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions for :meth:`step_wait`."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Steps all rows. Returns observations (N, ...), rewards (N,), dones (N,), infos (N dictionaries)."""
        observations, rewards, terminations, truncations, infos = self.vector_env.step(self._actions)
        dones = np.logical_or(terminations, truncations)
        row_infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if "cost" in infos:
            for row in np.flatnonzero(infos.get("_cost", ~dones)).tolist():
                row_infos[row]["cost"] = infos["cost"][row]
        for row in np.flatnonzero(dones).tolist():
            # Vector wrappers, such as RecordEpisodeStatistics, write to the infos, not to the final info.
            beside = {key: value for key, value in infos.items() if not key.startswith(("final_", "_final_"))}
            row_infos[row] = _row_infos(beside, row) | _row_infos(infos.get("final_info", {}), row)
            row_infos[row]["terminal_observation"] = deepcopy(_row(infos["final_obs"], row))
            row_infos[row]["TimeLimit.truncated"] = bool(truncations[row] and not terminations[row])
        self.vector_infos = infos
        return deepcopy(observations), np.array(rewards, dtype=np.float32), dones, row_infos

    def close(self) -> None:
        """Close the vector env."""
        self.vector_env.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Values of an attribute: of the sub-environments if there are any, else the vector env's for each row."""
        values = self._attribute_rows(attr_name)
        return [values[row] for row in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of the sub-environments, or of the vector env itself (for all rows only)."""
        rows = list(self._get_indices(indices))
        base: Any = self.vector_env.unwrapped
        if hasattr(base, "set_attr"):
            values = list(base.get_attr(attr_name)) if len(rows) < self.num_envs else [value] * self.num_envs
            for row in rows:
                values[row] = value
            base.set_attr(attr_name, values)
        else:
            self._require_all_rows(rows)
            setattr(base, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list:
        """Call a method of the sub-environments, or once of the vector env; its result is then split into rows."""
        rows = list(self._get_indices(indices))
        base = self.vector_env.unwrapped
        if hasattr(base, "envs"):
            methods = [base.envs[row].get_wrapper_attr(method_name) for row in rows]
            return [method(*method_args, **method_kwargs) for method in methods]
        self._require_all_rows(rows)
        if hasattr(base, "call"):  # sub-environments in other processes
            return list(base.call(method_name, *method_args, **method_kwargs))
        result = self._vector_attribute(method_name)(*method_args, **method_kwargs)
        is_per_row = isinstance(result, (list, tuple, np.ndarray)) and len(result) == self.num_envs
        return list(result) if is_per_row else [result] * self.num_envs

    def env_is_wrapped(self, wrapper_class: type[gymnasium.Wrapper], indices: VecEnvIndices = None) -> list[bool]:
        """Whether each row is wrapped, itself or by a vector wrapper."""
        rows = list(self._get_indices(indices))
        if any(isinstance(layer, wrapper_class) for layer in self._layers()):
            return [True] * len(rows)
        environments = getattr(self.vector_env.unwrapped, "envs", None)
        return [environments is not None and is_wrapped(environments[row], wrapper_class) for row in rows]

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Frames of the rows; a single frame if the env renders all rows into one."""
        frames: Any = self.vector_env.render()
        return list(frames) if isinstance(frames, (list, tuple)) else [frames]

    def _layers(self) -> Iterator[VectorEnv]:
        layer = self.vector_env
        while isinstance(layer, VectorWrapper):
            yield layer
            layer = layer.env
        yield layer

    def _vector_attribute(self, name: str) -> Any:
        for layer in self._layers():
            if hasattr(layer, name):
                return getattr(layer, name)
        raise AttributeError(f"{self.vector_env} has no attribute {name!r}")

    def _attribute_rows(self, name: str) -> Sequence[Any]:
        base = self.vector_env.unwrapped
        if hasattr(base, "get_attr"):
            try:
                return base.get_attr(name)
            except AttributeError:
                pass  # an attribute of the vector env, not of its sub-environments
        return [self._vector_attribute(name)] * self.num_envs

    def _require_all_rows(self, rows: list[int]) -> None:
        if len(rows) < self.num_envs:
            raise InvalidValueError("indices", "must cover all rows of a vector env that has no sub-environments", rows)


def _row(batch: Any, row: int) -> Any:
    """A row of a batch: an array, an object array, or nested dictionaries and tuples of them."""
    if isinstance(batch, dict):
        return {key: _row(value, row) for key, value in batch.items()}
    if isinstance(batch, tuple):
        return tuple(_row(value, row) for value in batch)
    return batch[row]


def _row_infos(infos: dict[str, Any], row: int) -> dict[str, Any]:
    """A row's entries in Gymnasium's vector infos, whose mask ``_key`` marks the rows that have ``key``."""
    selected: dict[str, Any] = {}
    for key, values in infos.items():
        mask = infos.get(f"_{key}")
        is_mask = key.startswith("_") and key[1:] in infos
        if is_mask or (mask is not None and not mask[row]):
            continue
        is_batch = isinstance(values, (np.ndarray, list, tuple)) and np.shape(values)[:1] != ()
        selected[key] = _row_infos(values, row) if isinstance(values, dict) else values[row] if is_batch else values
    return selected
