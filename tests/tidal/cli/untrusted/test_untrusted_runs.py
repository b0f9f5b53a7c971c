"""Runs from elsewhere that are resumed or reported, and a process of its own that plants canaries in what others give:
nothing is run, imported or fetched."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agents.episodes.env_config import EnvConfig
from lm.model_names import BUNDLED_FOLDER
from tests.agents.policy.test_controller import trained
from tests.tidal.cli.test_rlm import TINY
from tests.tidal.cli.test_train_and_evaluate import SHORT as SHORT_TRAINING
from tests.tidal.cli.test_tune import SHORT as SHORT_TUNING
from tests.tidal.cli.untrusted.canaries import CANARIES, planted, text_fields

Tidal = Callable[..., Any]
ROOT = Path(__file__).parents[4]


def plants(path: Path, canaries: tuple[Any, ...] = CANARIES[::3]) -> Iterator[tuple[Any, Any]]:
    """Writes a JSON file again and again, each time with a canary in one place; at last as it was."""
    text = path.read_text(encoding="utf-8")
    for place in text_fields(json.loads(text)):
        for canary in canaries:
            path.write_text(json.dumps(planted(json.loads(text), place, canary)), encoding="utf-8")
            yield place, canary
    path.write_text(text, encoding="utf-8")


def require_one_line(result: Any, *planted: object) -> None:
    is_refused = result.code == 2 and result.err.count("Error: ") == 1 and "Traceback" not in result.err
    assert result.code == 0 or is_refused, (planted, result.err)


def test_tuning_runs(tidal: Tidal, watched: Path, model: str) -> None:
    folder = watched / "run"
    arguments = ("tune", "--model", model, "--output", folder, *SHORT_TUNING, "--decoder", "min-p")
    assert tidal(*arguments).code == 0
    for name in ("run.json", "min-p.json"):
        for plant in plants(folder / name):
            require_one_line(tidal(*arguments, "--resume"), name, plant)


def test_sweeps(tidal: Tidal, watched: Path) -> None:
    folder = watched / "run"
    run = [f"--run.{word[2:]}" if str(word).startswith("--") else word for word in TINY]
    arguments = ("rlm", "sweep", *run, "--values", "[16]", "--grammars", "[0]", "--output", folder)
    assert tidal(*arguments).code == 0
    files = sorted(folder.rglob("*.json"))
    assert {path.name for path in files} >= {"run.json", "config.json", "tokenizer_config.json"}
    for path in files:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text)
        for place in text_fields(content):
            content = planted(content, place, CANARIES[3])
        path.write_text(json.dumps(content), encoding="utf-8")
        require_one_line(tidal(*arguments, "--resume"), path)
        path.write_text(text, encoding="utf-8")


def test_checkpoints(tidal: Tidal, watched: Path, model: str) -> None:
    folder = watched / "run"
    arguments = ("train", "--model", model, "--output", folder, *SHORT_TRAINING, "--checkpoint_every", 32)
    assert tidal(*arguments, "--total_steps", 64).code == 0
    [checkpoint] = (folder / "checkpoints").iterdir()
    (checkpoint / "SHA256SUMS").unlink()
    for name in ("progress.json", "normalization.json", "state.json"):
        for plant in plants(checkpoint / name):
            require_one_line(tidal(*arguments, "--total_steps", 64, "--resume"), name, plant)
    for plant in plants(folder / "run.json"):
        require_one_line(tidal(*arguments, "--total_steps", 64, "--resume"), plant)
    with zipfile.ZipFile(checkpoint / "ppo.zip") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    pickled = b"ccanary_module\nmake\n)R."  # which would import the module and call what it holds
    data = {":type:": "function", ":serialized:": base64.b64encode(pickled).decode()}
    everywhere = json.dumps(dict.fromkeys(json.loads(parts["data"]), data)).encode()
    for change in ({"data": everywhere}, {"policy.pth": pickled}, {"policy.optimizer.pth": pickled}):
        with zipfile.ZipFile(checkpoint / "ppo.zip", "w") as archive:
            for name, content in (parts | change).items():
                archive.writestr(name, content)
        require_one_line(tidal(*arguments, "--total_steps", 64, "--resume"), change)


def test_tokenizers(tidal: Tidal, watched: Path, model: str) -> None:
    folder = Path(shutil.copytree(model, watched / "model"))
    (folder / "SHA256SUMS").unlink(missing_ok=True)
    for plant in plants(folder / "tokenizer.json", ("unknown/model",)):
        require_one_line(tidal("score", "A day.", "--model", folder), plant)


WATCH = """
import os, sys

def watch(event, arguments):
    at_network = event == "socket.getaddrinfo" or (event == "socket.connect" and isinstance(arguments[1], tuple))
    if at_network or event == "os.system" or (event == "subprocess.Popen" and str(arguments[0]).endswith("sh")):
        with open({asked!r}, "a") as file:
            file.write(f"{{event}} {{arguments}}")
        os._exit(77)

sys.addaudithook(watch)
"""
PROGRAM = """
import json, sys
from pathlib import Path
from tidal.cli.main import main

for path, content, arguments in json.loads(Path(sys.argv[1]).read_text()):
    Path(path).write_text(content)
    print("ended with", main(arguments), flush=True)
"""


def process(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """A process of Python without offline modes. An audit hook ends it where it reaches out, and records that."""
    (folder / "sitecustomize.py").write_text(WATCH.format(asked=str(folder / "asked")), encoding="utf-8")
    (folder / "canary_module.py").write_text(f"open({str(folder / 'ran')!r}, 'w').close()", encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"PYTHONPATH": f"{folder}:{ROOT}", "HF_HOME": str(folder / "hub"), "HF_HUB_DOWNLOAD_TIMEOUT": "1"}
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_a_watched_process_sees_what_reaches_out(tmp_path: Path) -> None:
    ended = process(tmp_path, "-m", "tidal", "score", "A day.", "--model", "unknown/model")
    assert ended.returncode == 77 and "huggingface.co" in (tmp_path / "asked").read_text(), ended.stderr


def test_a_process_of_its_own(tmp_path: Path) -> None:
    """Controllers, tuned decoders and models in the commands that read them."""
    controller, tuned = tmp_path / "controller", tmp_path / "tuned.json"
    trained()[0].save(controller)
    shutil.copytree(BUNDLED_FOLDER / "tidal-tiny", tmp_path / "model")
    read_controller = [
        ["generate", "A day", "--max_tokens", "1", "--controller", str(controller)],
        ["analyze", "--agent", str(controller), "--output", str(tmp_path / "analysis"), "--overwrite"],
    ]
    read_model = [
        ["generate", "A day", "--max_tokens", "1", "--model", str(tmp_path / "model")],
        ["carl", "agent", "A day", "--max_tokens", "1", "--model", str(tmp_path / "model")],
        ["evaluate", "--agent", str(tuned), "--episodes", "1", "--env.max_episode_steps", "1"],
    ]
    content = json.loads((controller / "controller.json").read_text(encoding="utf-8"))
    content["training"] = {"env": asdict(EnvConfig())}
    files = [(controller / "controller.json", content, read_controller)]
    files += [(tuned, {"family": "top-k", "parameters": {"k": 3}, "trials": []}, read_model[2:])]
    for name in ("config.json", "tokenizer_config.json", "generation_config.json"):
        path = tmp_path / "model" / name
        files.append((path, json.loads(path.read_text(encoding="utf-8")), read_model[:2]))
    cases = []
    for path, content, commands in files:
        for place in text_fields(content):
            canary = CANARIES[len(cases) % len(CANARIES)]
            cases += [(str(path), json.dumps(planted(content, place, canary)), command) for command in commands]
        code = {"AutoConfig": CANARIES[1], "AutoModelForCausalLM": "unknown/model--canary_module.Make"}
        cases += [(str(path), json.dumps(content | {"auto_map": code}), command) for command in commands]
        cases.append((str(path), json.dumps(content), commands[0]))
    (tmp_path / "cases").write_text(json.dumps(cases))
    ended = process(tmp_path, "-c", PROGRAM, tmp_path / "cases")
    assert ended.returncode == 0 and "Traceback" not in ended.stderr, ended.stderr
    assert not (tmp_path / "asked").exists() and not (tmp_path / "ran").exists()
    codes = [line[-1] for line in ended.stdout.splitlines() if "ended with" in line]
    assert len(codes) == len(cases) and set(codes) == {"0", "2"}
    assert ended.stderr.count("Error: ") == codes.count("2")
