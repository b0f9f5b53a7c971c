"""Files from elsewhere run nothing, import nothing and reach out to nothing, whatever stands in their text fields."""

from __future__ import annotations

import importlib
import json
import pkgutil
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from jsonargparse import ArgumentError
from safetensors import safe_open
from safetensors.numpy import save_file

import tidal.cli.commands as commands
from agents.episodes.env_config import EnvConfig
from agents.training.config import TrainConfig
from lm.carl.training.config import CarlTrainConfig
from lm.errors import InvalidValueError, TidalGymError
from lm.model_names import BUNDLED_FOLDER
from lm.passed_files import checked, hints_of
from lm.pretraining.config import PretrainConfig
from lm.rlm.config import RLMConfig
from tests.agents.policy.test_controller import trained
from tests.tidal.cli.untrusted.canaries import CANARIES, planted, text_fields
from tidal.benchmark.config import BenchmarkConfig

Tidal = Callable[..., Any]


def one_line(result: Any) -> bool:
    return result.code == 0 or (result.code == 2 and result.err.count("Error: ") == 1 and "Traceback" not in result.err)


def test_controllers(tidal: Tidal, watched: Path) -> None:
    folder = watched / "controller"
    trained()[0].save(folder)
    content = json.loads((folder / "controller.json").read_text(encoding="utf-8"))
    content["training"] = {"env": asdict(EnvConfig())}
    for place in text_fields(content):
        for canary in CANARIES:
            (folder / "controller.json").write_text(json.dumps(planted(content, place, canary)), encoding="utf-8")
            result = tidal("evaluate", "--agent", folder, "--episodes", 1, "--env.max_episode_steps", 1)
            assert one_line(result), (place, canary, result.err)


def test_tuned_decoders(tidal: Tidal, watched: Path) -> None:
    path = watched / "tuned.json"
    for family, parameters in ((CANARIES[0], {}), ("top-k", {"self": 1}), ("top-k", {CANARIES[0]: 1}), ("top-k", "x")):
        path.write_text(json.dumps({"family": family, "parameters": parameters}), encoding="utf-8")
        assert tidal("evaluate", "--agent", path, "--episodes", 1).code == 2


@pytest.mark.parametrize(
    ("command", "kind"),
    [(("train",), TrainConfig), (("benchmark",), BenchmarkConfig), (("pretrain",), PretrainConfig),
     (("rlm", "train"), RLMConfig), (("carl", "train"), CarlTrainConfig)],
)  # fmt: skip
def test_yaml(tidal: Tidal, watched: Path, command: tuple[str, ...], kind: type) -> None:
    defaults = asdict(kind())
    path = watched / "config.yaml"
    for place in text_fields(defaults):
        for canary in (*CANARIES, {"class_path": CANARIES[1]}):
            section = canary
            for name in reversed(place):
                section = {name: section}
            path.write_text(yaml.safe_dump(section), encoding="utf-8")
            result = tidal(*command, "--config", path, "--output", "unused", "--print_config")
            assert one_line(result), (place, canary, result.err)


def test_every_text_field_that_names_something_has_a_rule() -> None:
    """The reader itself refuses names of code, models and files, before any code could follow them."""
    following = {"model", "judge", "reward", "statistics", "cost", "prompts"}
    for name in following:
        for canary in CANARIES:
            with pytest.raises(InvalidValueError, match="Give it on the command line"):
                checked(hints_of(EnvConfig)[name], canary, name)


KINDS = {
    ("train",): TrainConfig, ("benchmark",): BenchmarkConfig, ("pretrain",): PretrainConfig,
    ("rlm", "train"): RLMConfig, ("carl", "train"): CarlTrainConfig,
}  # fmt: skip


def all_parsers() -> Iterator[Any]:
    """Parsers of all commands and subcommands that take options from files."""
    for module in pkgutil.iter_modules(commands.__path__):
        found = importlib.import_module(f"{commands.__name__}.{module.name}")
        for name in ("make_parser", "train_parser", "sweep_parser", "_phi_parser", "_reward_parser"):
            if hasattr(found, name):
                yield getattr(found, name)()


def test_tags_and_aliases_in_every_option_of_every_command(watched: Path) -> None:
    path, ran = watched / "config.yaml", watched / "ran"
    tag = f"!!python/object/apply:os.mkdir ['{ran}']"
    bomb = "{a: &a [x, x], b: &b [*a, *a], c: [*b, *b]}"
    tried = 0
    for parser in all_parsers():
        for name in getattr(parser, "types", {}):
            path.write_text(f"{name}: {tag}", encoding="utf-8")
            for arguments in (["--config", str(path)], [f"--{name}", bomb], [f"--{name}={bomb}"], [f"--{name}", tag]):
                try:
                    parser.parse_args(arguments)
                except (TidalGymError, ArgumentError):
                    tried += 1
                assert not ran.exists(), (parser.prog, name)
            with pytest.raises(InvalidValueError, match="without aliases"):
                parser.parse_args([f"--{name}", bomb])
    assert tried > 300


@pytest.mark.parametrize("command", KINDS)
def test_run_folders(tidal: Tidal, watched: Path, command: tuple[str, ...]) -> None:
    content = asdict(KINDS[command]())
    folder = watched / "run"
    folder.mkdir()
    for place in text_fields(content):
        (folder / "config.json").write_text(json.dumps(planted(content, place, CANARIES[0])), encoding="utf-8")
        result = tidal(*command, "--output", folder)
        assert result.code == 2 and one_line(result), (place, result.err)


def test_model_folders(tidal: Tidal, watched: Path) -> None:
    folder = Path(shutil.copytree(BUNDLED_FOLDER / "tidal-tiny", watched / "model"))
    code = {"AutoConfig": CANARIES[1], "AutoModelForCausalLM": "unknown/model--canary_module.Make"}
    code["AutoTokenizer"] = [CANARIES[1], None]
    for name in ("config.json", "tokenizer_config.json", "generation_config.json"):
        path = folder / name
        whole = json.loads(path.read_text(encoding="utf-8"))
        plants = [planted(whole, place, canary) for place in text_fields(whole) for canary in CANARIES[3:4]]
        plants += [whole | {key: code} for key in ("auto_map", "custom_pipelines")]
        plants += [whole | {key: canary} for canary in CANARIES[3:4]
                   for key in ("attn_implementation", "tokenizer_class", "processor_class", "name_or_path",
                               "experts_implementation", "chat_template")]  # fmt: skip
        for plant in plants:
            path.write_text(json.dumps(plant), encoding="utf-8")
            result = tidal("evaluate", "--agent", "neutral", "--env.model", folder, "--episodes", 1,
                           "--env.max_episode_steps", 1)  # fmt: skip
            assert one_line(result), (name, plant, result.err)
        path.write_text(json.dumps(whole), encoding="utf-8")


@pytest.mark.parametrize("name", ["grammar", "reference_statistics", "model"])
def test_metadata_of_tensors(tidal: Tidal, watched: Path, name: str) -> None:
    folder = Path(shutil.copytree(BUNDLED_FOLDER / "rlm-tiny", watched / "model"))
    (folder / "SHA256SUMS").unlink()
    path = folder / f"{name}.safetensors"
    with safe_open(path, "np") as file:
        metadata = file.metadata() or {}
        arrays = {key: np.array(file.get_tensor(key)) for key in file.keys()}  # noqa: SIM118 - no mapping
    for key in {*metadata, "format", "depth"}:
        for canary in CANARIES:
            save_file(arrays, path, metadata | {key: canary})
            result = tidal("score", "--model", folder, "--data", __file__)
            assert one_line(result), (key, canary, result.err)
