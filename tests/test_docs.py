"""The documents say what is true: generated pages, links, commands and Python code."""

from __future__ import annotations

import doctest
import json
import re
import runpy
import shlex
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from jsonargparse import ArgumentParser

import tidal_gym
from agents import EnvConfig, PPOConfig, TrainConfig, train
from tidal.cli.main import COMMANDS, _with_underscores

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/**/*.md")])
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def blocks(document: Path, language: str) -> list[str]:
    return [code for found, code in FENCE.findall(document.read_text(encoding="utf-8")) if found == language]


def tidal_commands(document: Path) -> Iterator[list[str]]:
    """The words of every `tidal` command in the shell blocks, and in code spans that give a command options."""
    text = document.read_text(encoding="utf-8")
    lines = [line for code in blocks(document, "bash") for line in code.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"`(tidal [a-z-][^`\n]*)`", FENCE.sub("", text))
    for line in lines:
        words = shlex.split(line, comments=True)
        if words[:1] == ["tidal"]:
            yield words[1:]


# Generated pages


def test_reference_pages_are_up_to_date() -> None:
    pages = runpy.run_path(str(ROOT / "docs" / "make_reference.py"))["reference_pages"]()
    assert names(list(pages)) == ["docs/environments/tidal-gating.md", "docs/environments/tidal-rlm.md"]
    for path, page in pages.items():
        assert path.read_text(encoding="utf-8") == page, "run `make docs`"


def test_docstring_of_the_environment() -> None:
    (test,) = doctest.DocTestFinder(recurse=False).find(tidal_gym.TidalGatingEnv, "TidalGatingEnv")
    assert len(test.examples) >= 8
    result = doctest.DocTestRunner().run(test)
    assert result.failed == 0


# Links


@pytest.mark.parametrize("document", DOCUMENTS, ids=names(DOCUMENTS))
def test_relative_links(document: Path) -> None:
    text = FENCE.sub("", document.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        destination = document.parent / path if path else document
        assert destination.exists(), f"{target} does not exist"
        if anchor:
            assert anchor in anchors(destination), f"there is no heading for {target}"


def anchors(document: Path) -> list[str]:
    """Of the headings, as GitHub makes them: lower case, punctuation gone, spaces as hyphens."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", document.read_text(encoding="utf-8")), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]


# Commands


@pytest.mark.parametrize("document", DOCUMENTS, ids=names(DOCUMENTS))
def test_commands_parse(document: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # where the documents' commands are given
    for words in tidal_commands(document):
        if words[0].startswith("-"):
            continue  # options of `tidal` itself
        assert words[0] in COMMANDS, words
        if "--help" in words or words in ([words[0]], ["rlm", "train"], ["rlm", "sweep"]):
            continue  # spoken of, not given
        parser: ArgumentParser = import_module(f"tidal.cli.commands.{words[0]}").make_parser()
        parser.parse_args(_with_underscores(words[1:]))


def test_every_command_is_shown_in_the_readme() -> None:
    shown = {words[0] for words in tidal_commands(ROOT / "README.md")}
    assert shown >= COMMANDS.keys() - {"demo"}, "make demo stands for `tidal demo`"


@pytest.mark.parametrize("document", DOCUMENTS, ids=names(DOCUMENTS))
def test_make_targets_exist(document: Path) -> None:
    targets = re.findall(r"^([\w ]+):(?!=)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    known = {target for line in targets for target in line.split()}
    for code in blocks(document, "bash"):
        for line in code.splitlines():
            if line.startswith("make "):
                assert line.split()[1] in known, line


@pytest.mark.parametrize("document", DOCUMENTS, ids=names(DOCUMENTS))
def test_scripts_exist(document: Path) -> None:
    for code in blocks(document, "bash"):
        for script in re.findall(r"^python (\S+\.py)", code, re.MULTILINE):
            assert (ROOT / script).is_file(), script


# Python code

WITH_CODE = [document for document in DOCUMENTS if blocks(document, "python") and "environments" not in document.parts]


@pytest.fixture(scope="module")
def working_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where `runs/first` is, which the documents' first command makes."""
    folder = tmp_path_factory.mktemp("documents")
    tiny = TrainConfig(EnvConfig(max_episode_steps=4), PPOConfig(num_envs=2, rollout_steps=4, batch_size=8), 8)
    train(tiny, folder / "runs" / "first")
    return folder


@pytest.mark.unseeded  # the code only has to run
@pytest.mark.parametrize("document", WITH_CODE, ids=names(WITH_CODE))
def test_python_code_runs(document: Path, working_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(working_folder)
    namespace: dict = {"__name__": "__main__"}
    for code in blocks(document, "python"):
        exec(compile(code, document.name, "exec"), namespace)


def test_the_table_of_architectures_is_that_of_the_result() -> None:
    script = import_module("benchmarks.models.architectures_supported")
    path = ROOT / "benchmarks" / "results" / "models" / "architectures_supported.json"
    result = json.loads(path.read_text(encoding="utf-8"))
    page = script.PAGE.read_text(encoding="utf-8")
    assert page.split(script.BEGIN)[1].split(script.END)[0] == script.tables(result)
    assert "wrong" not in result["outcomes"] and result["outcomes"]["right"] > 100
