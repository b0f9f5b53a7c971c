from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lm.errors import CheckpointError, InvalidValueError
from tidal.jobs.agent_names import agent_named

Tidal = Callable[..., Any]

SHORT = ("--ppo.num_envs", 4, "--ppo.rollout_steps", 8, "--ppo.batch_size", 16, "--ppo.epochs", 1,
         "--env.max_episode_steps", 6)  # fmt: skip


@pytest.fixture(scope="module")
def trained(model: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two updates, trained from a preset with overrides."""
    from tidal.cli.main import main

    folder = tmp_path_factory.mktemp("runs") / "run"
    preset = Path(__file__).parents[3] / "configs" / "ppo" / "classic.yaml"
    arguments = ["train", "--config", preset, "--model", model, "--output", folder, "--total_steps", 64, *SHORT]
    assert main([str(argument) for argument in arguments]) == 0
    return folder


def test_preset_and_overrides_reach_the_run(trained: Path, model: str) -> None:
    config = json.loads((trained / "run.json").read_text(encoding="utf-8"))["config"]
    assert config["env"]["model"] == model
    assert config["env"]["modulation"] == {"base_penalty": 1.2} and config["ppo"]["gamma"] == 0.99  # of the preset
    assert config["total_steps"] == 64 and config["ppo"]["num_envs"] == 4  # overridden


def test_controllers_of_another_release_are_named(tidal: Tidal, trained: Path, tmp_path: Path) -> None:
    for change in ({"training": {}}, {"training": None}, {"training": {"env": {"novel": 1}}}, {"hidden_sizes": ["a"]}):
        folder = shutil.copytree(trained / "controller", tmp_path / "controller", dirs_exist_ok=True)
        content = json.loads((folder / "controller.json").read_text(encoding="utf-8"))
        (folder / "controller.json").write_text(json.dumps(content | change), encoding="utf-8")
        code, _, err = tidal("evaluate", "--agent", folder, "--episodes", 1)
        assert code == 2 and err.count("Error: ") == 1 and ("is damaged" in err or "cannot be used" in err)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reward": "pydoc:pipepager", "reward_weights": "touch ran"}, "`env.reward` must be a registered reward"),
        ({"reward_weights": {"perplexity": "touch ran"}}, "`env.reward_weights.perplexity` must be a finite number"),
        ({"statistics": "/etc/passwd"}, "`env.statistics` may not be chosen by a file"),
        ({"judge": "somebody/model"}, "`env.judge` must be a bundled model"),
        ({"modulation": {"top_k": "40"}}, "`modulation.top_k` must be an integer"),
        ({"max_episode_steps": 2**70}, "`env.max_episode_steps` must be a whole number below 2^63"),
        ({"device": "warp"}, "`env.device` must be cpu, cuda or mps"),
    ],
)
def test_a_controllers_file_cannot_lead_out_of_it(
    tidal: Tidal, trained: Path, model: str, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    folder = shutil.copytree(trained / "controller", tmp_path / "controller")
    content = json.loads((folder / "controller.json").read_text(encoding="utf-8"))
    content["training"]["env"] |= change
    (folder / "controller.json").write_text(json.dumps(content), encoding="utf-8")
    code, out, err = tidal("evaluate", "--agent", folder, "--model", model, "--episodes", 1)
    assert (code, out) == (2, "") and message in err and err.count("\n") == 1


def test_what_a_controllers_file_may_not_choose_can_be_given(
    tidal: Tidal, trained: Path, model: str, tmp_path: Path
) -> None:
    folder = shutil.copytree(trained / "controller", tmp_path / "controller")
    content = json.loads((folder / "controller.json").read_text(encoding="utf-8"))
    content["training"]["env"]["reward"] = "tidal_gym.rewards.rewards:TidalReward"
    (folder / "controller.json").write_text(json.dumps(content), encoding="utf-8")
    arguments = ("evaluate", "--agent", folder, "--model", model, "--episodes", 1)
    assert tidal(*arguments).code == 2
    assert tidal(*arguments, "--env.reward", "tidal_gym.rewards.rewards:TidalReward").code == 0
    assert tidal("generate", "The dog", "--controller", folder, "--model", model, "--max_tokens", 1).code == 0


def test_evaluation_under_carl_is_written(tidal: Tidal, model: str, tmp_path: Path) -> None:
    arguments = ("evaluate", "--agent", "neutral", "--model", model, "--episodes", 1, "--env.max_episode_steps", 3)
    assert tidal(*arguments, "--env.carl.weight", 0.5, "--output", tmp_path / "found.json").code == 0
    written = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert written["environment"]["carl"]["weight"] == 0.5
    code, _, err = tidal(*arguments, "--output", tmp_path, "--overwrite")
    assert code == 2 and "is a folder" in err


def test_train_says_where_the_controller_lies(tidal: Tidal, model: str, tmp_path: Path) -> None:
    code, out, err = tidal("train", "--model", model, "--output", tmp_path / "run", "--total_steps", 32, *SHORT)
    assert code == 0
    assert "Env steps" in out and "32" in out and "Episode reward" in out
    assert f"tidal evaluate --agent {tmp_path / 'run' / 'controller'} neutral random" in out
    assert "Training the controller: done in" in err
    assert (tmp_path / "run" / "controller" / "policy.safetensors").is_file()


def test_run_is_not_overwritten_unasked(tidal: Tidal, model: str, trained: Path) -> None:
    before = (trained / "run.json").read_bytes()
    code, _, err = tidal("train", "--model", model, "--output", trained, *SHORT)
    assert code == 2 and "already holds a run" in err and "`--overwrite`" in err and err.count("Error: ") == 1
    assert (trained / "run.json").read_bytes() == before


def test_resume_and_overwrite(tidal: Tidal, model: str, tmp_path: Path) -> None:
    arguments = ("train", "--model", model, "--output", tmp_path / "run", "--total_steps", 64, *SHORT)
    assert tidal(*arguments).code == 0
    curve = tmp_path / "run" / "learning_curve.jsonl"
    first = curve.read_text(encoding="utf-8")
    assert tidal(*arguments, "--resume").code == 0  # nothing is left to do
    assert curve.read_text(encoding="utf-8") == first
    changed = tidal(*arguments, "--resume", "--seed", 9)
    assert changed.code == 2 and "`seed` was 0 and is 9" in changed.err
    assert tidal(*arguments, "--seed", 9, "--overwrite").code == 0
    assert curve.read_text(encoding="utf-8") != first


def test_evaluate_prints_a_table_and_writes_json(tidal: Tidal, trained: Path, model: str, tmp_path: Path) -> None:
    target = tmp_path / "evaluation.json"
    arguments = (
        "evaluate",
        "--agent",
        trained,
        "neutral",
        "random",
        "static:0.2,0.1,0.4",
        "--episodes",
        4,
        "--model",
        model,
        "--output",
        target,
    )
    code, out, err = tidal(*arguments)
    assert code == 0 and "neutral" in out and "0.20 ± 0.00" in out and "Evaluating random: done" in err
    content = json.loads(target.read_text(encoding="utf-8"))
    agents = {agent["agent"]: agent for agent in content["agents"]}
    assert list(agents) == [str(trained), "neutral", "random", "static:0.2,0.1,0.4"]
    assert len({agent["episodes_fingerprint"] for agent in agents.values()}) == 1  # the same episodes for all
    assert all(len(agent["returns"]) == 4 for agent in agents.values())
    assert [usage["mean"] for usage in agents["static:0.2,0.1,0.4"]["gates"].values()] == pytest.approx([0.2, 0.1, 0.4])
    # What the controller was trained in: model, penalty and episode length come from its run.
    assert content["environment"]["model"] == model and content["environment"]["prompts"] == "heldout"
    assert content["environment"]["modulation"] == {"base_penalty": 1.2}
    assert content["environment"]["max_episode_steps"] == 6

    refused = tidal(*arguments)
    assert refused.code == 2 and "already exists" in refused.err


def test_evaluate_in_another_environment(tidal: Tidal, trained: Path, model: str, tmp_path: Path) -> None:
    prompts, target = tmp_path / "prompts.txt", tmp_path / "evaluation.json"
    prompts.write_text("The dog sat on the mat.\n", encoding="utf-8")
    code, _, _ = tidal("evaluate", "--agent", trained, "oracle", "--episodes", 1, "--prompts", prompts,
                       "--model", model, "--env.max_episode_steps", 2, "--output", target)  # fmt: skip
    content = json.loads(target.read_text(encoding="utf-8"))
    assert code == 0
    assert content["environment"]["max_episode_steps"] == 2
    assert content["environment"]["modulation"] == {"base_penalty": 1.2}  # as trained: only what was asked for changes
    assert all(agent["samples"][0]["prompt"].startswith("The") for agent in content["agents"])


def test_generate_with_a_controller_takes_its_modulation(tidal: Tidal, trained: Path, model: str) -> None:
    arguments = ("generate", "The dog", "--controller", trained, "--max_tokens", 3, "--show_gates")
    code, _, err = tidal(*arguments)
    assert code == 2 and "`env.model` must be a bundled model where a file names it" in err
    code, out, _ = tidal(*arguments, "--model", model)
    assert code == 0
    for row in out.splitlines()[-3:]:
        _, _, stability, _, penalty = row.split()[-7:-2]
        assert float(penalty) == pytest.approx(1.2 * (1 + 1.5 * float(stability)), abs=0.02)


@pytest.mark.parametrize("name", ["nobody", "static:1,2", "static:a,b,c", "static:0,0,2"])
def test_unknown_agents(name: str) -> None:
    with pytest.raises(InvalidValueError):
        agent_named(name)


def test_decoding_methods_by_name(tmp_path: Path) -> None:
    decoder = agent_named("min-p:min_p=0.1,temperature=1.2")
    assert decoder.name == "min-p:min_p=0.1,temperature=1.2"
    assert decoder.parameters == {"min_p": 0.1, "temperature": 1.2, "repetition_penalty": 1.0}
    assert agent_named("edt").parameters["theta"] == 0.1
    tuned = tmp_path / "tuned.json"
    tuned.write_text('{"family": "top-k", "parameters": {"top_k": 7}, "env_steps": 5}', encoding="utf-8")
    assert agent_named(str(tuned)).parameters["top_k"] == 7


@pytest.mark.parametrize(
    ("name", "message"),
    [("min-p:min_p", "must give its parameters as name=number"), ("min-p:min_q=1", "Did you mean `min_p`")],
)
def test_bad_parameters_of_decoding_methods(name: str, message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        agent_named(name)


@pytest.mark.parametrize("content", ["{", "[]", '{"family": "top-k"}', '{"family": "top-k", "parameters": 5}'])
def test_files_that_hold_no_decoder(tmp_path: Path, content: str) -> None:
    path = tmp_path / "tuned.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"tuned\.json (is damaged|cannot be read)"):
        agent_named(str(path))


def test_folder_without_a_controller(tidal: Tidal, model: str, tmp_path: Path) -> None:
    code, _, err = tidal("evaluate", "--agent", tmp_path, "--model", model)
    assert code == 2 and "holds no controller" in err


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\xff", ("word " * 200).encode()])
def test_bad_prompt_files(tidal: Tidal, model: str, tmp_path: Path, content: bytes) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_bytes(content)
    code, _, err = tidal("evaluate", "--agent", "neutral", "--model", model, "--prompts", prompts, "--episodes", 1)
    assert code == 2 and err.splitlines()[-1].startswith("Error: `prompts` must")
