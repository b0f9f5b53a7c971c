"""Write the reference page of every environment from its docstring: ``python docs/make_reference.py``."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import gymnasium

import tidal_gym  # noqa: F401 - registers the environments

PAGES = Path(__file__).parent / "environments"

HEAD = """\
<!-- Made from the docstring of {source} by docs/make_reference.py: change it there. -->

# {id}

```python
import gymnasium
import tidal_gym

env = gymnasium.make("{id}")
envs = gymnasium.make_vec("{id}", num_envs=64)
```

`make` gives a `{source}`, `make_vec` a `{vector_source}`.
"""


def reference_pages() -> dict[Path, str]:
    """The text of each page, by its path."""
    pages = {}
    for spec in gymnasium.registry.values():
        if str(spec.entry_point).startswith("tidal_gym"):
            head = HEAD.format(
                id=spec.id,
                source=str(spec.entry_point).replace(":", "."),
                vector_source=str(spec.vector_entry_point).replace(":", "."),
            )
            manual = inspect.getdoc(gymnasium.envs.registration.load_env_creator(str(spec.entry_point)))
            pages[PAGES / f"{_file_name(spec.name)}.md"] = f"{head}\n{manual}\n"
    return pages


def _file_name(name: str) -> str:
    """TidalGating as tidal-gating, TidalRLM as tidal-rlm."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()


if __name__ == "__main__":
    for path, page in reference_pages().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
