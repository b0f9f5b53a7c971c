from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from tidal.cli import main as cli
from tidal.cli.main import COMMANDS, main

Tidal = Callable[..., Any]


def test_help_lists_every_command(tidal: Tidal) -> None:
    code, out, err = tidal("--help")
    assert code == 0 and err == ""
    assert all(f"  {name} " in out for name in COMMANDS)


def test_help_imports_nothing_heavy() -> None:
    """So that it takes well under a second."""
    script = (
        "import sys; from tidal.cli.main import main; main(['--help']);"
        "print(sorted({'torch', 'transformers', 'gymnasium', 'matplotlib', 'scipy'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


def test_the_help_of_commands_does_not_import_torch() -> None:
    """So that it takes under two seconds."""
    actions = [["carl", "train"], ["carl", "agent"], ["rlm", "train"], ["rlm", "sweep"]]
    script = (
        "import sys; from tidal.cli.main import main\n"
        f"for command in {[[name] for name in COMMANDS] + actions}:\n"
        "    assert main([*command, '--help']) == 0, command\n"
        "    assert not {'torch', 'transformers', 'scipy'} & set(sys.modules), command"
    )
    subprocess.run([sys.executable, "-c", script], stdout=subprocess.DEVNULL, check=True)


def test_without_a_command_help_is_shown_and_the_code_says_so(tidal: Tidal) -> None:
    code, out, _ = tidal()
    assert code == 2 and out.startswith("usage: tidal COMMAND")


def test_installed_command() -> None:
    command = Path(sys.executable).with_name("tidal")
    if not command.exists():
        pytest.skip("the project is not installed in this environment")
    result = subprocess.run([command, "generat"], capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr == "Error: There is no command 'generat'. Did you mean `generate`? See `tidal --help`.\n"


def test_version(tidal: Tidal) -> None:
    assert tidal("--version").out.startswith("tidal-gym ")


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("pretrain", ["--training.learning_rate", "Peak learning rate", "default: 0.001", "--resume"]),
        ("train", ["--ppo.gamma", "Discount of rewards per token", "default: 0.5", "--model", "--overwrite"]),
        ("generate", ["--max_tokens", "default: 200", "--top_p", "--gates CREATIVITY FOCUS STABILITY", "--stop"]),
        ("score", ["--per_token", "--file", "default: tidal-tiny"]),
        ("evaluate", ["--agent", "static:CREATIVITY,FOCUS,STABILITY", "default: heldout", "--env.max_episode_steps"]),
        ("statistics", ["--data", "default: 0.02"]),
        ("carl", ["phi", "reward", "gate-check", "constants", "train", "agent"]),
        ("demo", ["--quick", "--steps", "default: 0"]),
    ],
)
def test_command_help_gives_meaning_and_defaults(tidal: Tidal, command: str, says: list[str]) -> None:
    code, out, _ = tidal(command, "--help")
    text = " ".join(out.split())
    assert code == 0
    assert [part for part in [*says, "--config", "--print_config"] if part not in text] == []


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - {"runs"}))  # `runs` has no configuration
def test_print_config_can_be_read_back(tidal: Tidal, tmp_path: Path, command: str) -> None:
    required = {
        "generate": ["Once"],
        "pretrain": ["--output", "run"],
        "train": ["--output", "run"],
        "evaluate": ["--agent", "neutral"],
        "statistics": ["--model", "rlm-tiny", "--data", "data.txt"],
        "carl": ["constants"],
        "rlm": ["train", "--output", "run"],
    }.get(command, [])
    code, out, _ = tidal(command, *required, "--print_config")
    assert code == 0
    config = tmp_path / "config.yaml"
    config.write_text(out, encoding="utf-8")
    positional = required if command in ("generate", "carl", "rlm") else []
    again = tidal(command, *positional, "--config", config, "--print_config")
    assert again.code == 0 and yaml.safe_load(again.out) == yaml.safe_load(out)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["train", "--output", "run", "--ppo.gama", "0.5"], "--ppo.gama"),
        (["train", "--output", "run", "--ppo.gamma", "high"], "ppo.gamma"),
        (["train"], "required: output"),
        (["generate"], "prompt"),
        (["demo", "--episode", "many"], "--episode"),
    ],
)
def test_bad_options_are_one_line(tidal: Tidal, arguments: list[str], says: str) -> None:
    code, out, err = tidal(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("Error: ") and err.count("\n") == 1
    assert says in err and err.endswith(f"See `tidal {arguments[0]} --help`.\n")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("ppo: {gama: 0.5}", "Received 'gama'. Did you mean `gamma`?"),
        ("typo: {}", "must hold options of `tidal train` only. Received 'typo'."),
        ("ppo: {gamma: }", "`ppo.gamma` must be a finite number. Received None."),
        ("ppo: {gamma: .inf}", "`ppo.gamma` must be a finite number. Received inf."),
        ("ppo: {gamma: high}", "`ppo.gamma` must be a finite number. Received 'high'."),
        ("ppo: {gamma: 0.5, gamma: 0.9}", "the key 'gamma' stands twice"),
        ("env: &a {model: tidal-tiny}\nppo: *a\n", "it holds the alias *a (line 2)"),
        ("env: !!python/object/apply:os.system ['touch ran']", "could not determine a constructor"),
        ("env: {class_path: evil_module.X}", "`env` must hold fields that exist. Received 'class_path'."),
        ("env: {carl: {class_path: evil_module.X}}", "Received 'class_path'."),
        ("env: {modulation: {class_path: evil_module.X}}", "may only have the keys"),
        ("env: {reward: 'math:pi'}", "`env.reward` must be a registered reward where a file names it"),
        ("env: {model: somebody/model}", "`env.model` must be a bundled model where a file names it"),
        ("overwrite: true", "`overwrite` may not be set by a file"),
        ("output: /tmp/elsewhere", "`output` must lie in the present folder"),
        ("- 1", "it holds no mapping of options but list"),
        ("", "it holds no mapping of options but NoneType"),
        ("a: " + "[" * 5000, "nested deeper than"),
        ("a: \"unfinished", "(line "),
        ("warm_start:\n  # env_steps: 20000\n", "`warm_start` must be a mapping of names to values. Received None."),
        ("ppo: 3", "`ppo` must be a mapping of names to values. Received 3."),
    ],
)
def test_mistakes_in_yaml(tidal: Tidal, tmp_path: Path, content: str, says: str) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(content, encoding="utf-8")
    code, _, err = tidal("train", "--config", config, "--output", tmp_path / "run")
    assert code == 2 and says in err and err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_files_that_are_no_text_are_named(tidal: Tidal, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    for content, says in ((b"seed: \xff", "byte 6 is not UTF-8"), (b"#" * 300_000, "at most 262,144 are read")):
        config.write_bytes(content)
        code, _, err = tidal("train", "--config", config, "--output", tmp_path / "run")
        assert code == 2 and says in err and err.count("\n") == 1
    code, _, err = tidal("train", "--config", tmp_path / "nowhere.yaml", "--output", tmp_path / "run")
    assert code == 2 and "it is no regular file" in err and err.count("\n") == 1


@pytest.mark.parametrize("option", ["--ppo", "--env", "--env.carl"])
def test_files_of_sections_are_read_as_carefully(
    tidal: Tidal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, option: str
) -> None:
    (tmp_path / "evil_module.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    section = tmp_path / "section.yaml"
    section.write_text("class_path: evil_module.X", encoding="utf-8")
    for value in (section, "evil_module.X", '{"class_path": "evil_module.X"}'):
        code, _, err = tidal("train", option, value, "--output", tmp_path / "run")
        assert code == 2 and err.count("\n") == 1
    assert not (tmp_path / "ran").exists()
    section.write_text("weight: 0.5" if option == "--env.carl" else "{}", encoding="utf-8")
    code, out, err = tidal("train", option, section, "--output", "run", "--print_config")
    assert code == 0, err


def test_broken_rules_are_one_line(tidal: Tidal, tmp_path: Path) -> None:
    code, _, err = tidal("train", "--output", tmp_path / "run", "--ppo.gamma", "1.5")
    assert (code, err) == (2, "Error: `ppo.gamma` must be in [0, 1]. Received 1.5.\n")


def test_missing_model_is_one_line(tidal: Tidal, tmp_path: Path) -> None:
    code, _, err = tidal("generate", "Once", "--model", tmp_path / "nowhere")
    assert code == 2 and err.startswith("Error: No model named") and err.count("\n") == 1


def test_dashes_and_underscores_are_the_same() -> None:
    arguments = ["a prompt--like-this", "--max-tokens", "3", "--top-k=4", "--stop", "-- no option"]
    expected = ["a prompt--like-this", "--max_tokens", "3", "--top_k=4", "--stop", "-- no option"]
    assert cli._with_underscores(arguments) == expected


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["train", "--output", "my run", "--overwrite"], "tidal train --output 'my run' --resume"),
        (["evaluate", "--agent", "neutral"], "Files written so far are kept"),
    ],
)
def test_interrupt_says_how_to_go_on(
    tidal: Tidal, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    def interrupted(arguments: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(import_module(f"tidal.cli.commands.{arguments[0]}"), "run", interrupted)
    code, _, err = tidal(*arguments)
    assert code == 130
    assert err.startswith("Interrupted. ") and says in err and err.count("\n") == 1


def test_full_disk_is_one_line(tidal: Tidal, monkeypatch: pytest.MonkeyPatch) -> None:
    def disk_full(arguments: list[str]) -> int:
        raise OSError(28, "No space left on device", "run/config.json")

    monkeypatch.setattr(import_module("tidal.cli.commands.score"), "run", disk_full)
    assert tidal("score", "x") == (1, "", "Error: [Errno 28] No space left on device: 'run/config.json'\n")


def test_bugs_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def buggy(arguments: list[str]) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(import_module("tidal.cli.commands.score"), "run", buggy)
    with pytest.raises(ZeroDivisionError):
        main(["score", "x"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "--total_step", 1, "--output", "run"), "arguments: --total_step 1. See `tidal train --help`."),
        (("train", "--ppo.policy", "gausian", "--output", "run"), "`ppo.policy`: Expected one of 'beta', 'gaussian'."),
        (("benchmark", "--decoders", "edt", "--output", "run"), "`decoders`: Expected a list such as '[a, b]'."),
        (("evaluate", "--agent", "neutrl"), "Received neutrl. Did you mean `neutral`?"),
        (
            ("train", "--ppo.constraint.multiplier_gain", -1, "--output", "run"),
            "Error: `ppo.constraint.multiplier_gain` must be at least 0 and at most 1e+06. Received -1.0.",
        ),
        (
            ("train", "--ppo.constraint.gain", 1, "--output", "run"),
            "Error: `ppo.constraint`: Option 'gain' is not accepted.",
        ),
        (("evaluate", "--agent", "runs/nope/controller"), "must be the existing folder of a controller"),
    ],
)
def test_mistakes_are_told_in_plain_words(tidal: Tidal, arguments: tuple[Any, ...], message: str) -> None:
    code, _, err = tidal(*arguments)
    assert code == 2 and message in " ".join(err.split())
