from dataclasses import dataclass, field

import pytest

from lm.errors import CheckpointError, InvalidValueError, OutputExistsError
from lm.runs import run_folder


@dataclass(frozen=True)
class Inner:
    rate: float = 0.1


@dataclass(frozen=True)
class Config:
    steps: int = 3
    inner: Inner = field(default_factory=Inner)


def test_a_run_is_never_overwritten_unasked(tmp_path):
    folder = run_folder.claim(tmp_path / "run", "test", Config(), resume=False, overwrite=False)
    (folder / "result").write_text("precious")
    with pytest.raises(OutputExistsError, match=r"already holds a run.*--resume.*--overwrite"):
        run_folder.claim(folder, "test", Config(), resume=False, overwrite=False)
    run_folder.claim(folder, "test", Config(), resume=True, overwrite=False)
    assert (folder / "result").read_text() == "precious"
    run_folder.claim(folder, "test", Config(), resume=False, overwrite=True)
    assert not (folder / "result").exists()


@pytest.mark.parametrize("name", ["notes.txt", "notes.txt/run", "notes.txt/runs/first"])
def test_a_folder_cannot_be_made_of_or_below_a_file(tmp_path, name):
    (tmp_path / "notes.txt").write_text("mine")
    for ask in (run_folder.require_claimable, run_folder.claim):
        for resume in (False, True):
            with pytest.raises(InvalidValueError, match=r"must name a folder.* but .*notes\.txt is a file"):
                ask(tmp_path / name, "test", Config(), resume=resume, overwrite=False)
    assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [("notes.txt", "mine")]


def test_a_name_that_the_file_system_does_not_take(tmp_path):
    with pytest.raises(InvalidValueError, match=r"must name a folder\..*File name too long"):
        run_folder.claim(tmp_path / ("x" * 300), "test", Config(), resume=False, overwrite=False)


def test_a_folder_that_may_not_be_written_to(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(InvalidValueError, match="must name a folder that can be written to"):
        run_folder.claim(tmp_path / "run", "test", Config(), resume=False, overwrite=False)
    assert not list(tmp_path.iterdir())


def test_resuming_is_offered_only_where_it_is_possible(tmp_path):
    run_folder.claim(tmp_path, "test", Config(), resume=None, overwrite=False)
    with pytest.raises(OutputExistsError, match=r"a run. Choose another or replace it with `--overwrite`.$"):
        run_folder.claim(tmp_path, "test", Config(), resume=None, overwrite=False)


def test_what_is_no_run_is_not_removed(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(OutputExistsError, match="holds something that is no run"):
            run_folder.claim(tmp_path, "test", Config(), resume=False, overwrite=overwrite)
    (tmp_path / "run.json").write_text('{"model_type": "gated_transformer"}')  # as a model's folder has
    for choice in ({"resume": False, "overwrite": True}, {"resume": True, "overwrite": False}):
        with pytest.raises(OutputExistsError, match="holds something that is no run"):
            run_folder.claim(tmp_path, "test", Config(), **choice)
    with pytest.raises(InvalidValueError, match="`overwrite` must not be used together with `resume`"):
        run_folder.claim(tmp_path / "run", "test", Config(), resume=True, overwrite=True)
    assert (tmp_path / "thesis.tex").exists()


def test_another_configuration_cannot_be_resumed(tmp_path):
    run_folder.claim(tmp_path, "test", Config(), resume=False, overwrite=False)
    run_folder.claim(tmp_path, "test", Config(steps=4), resume=True, overwrite=False, adjustable=frozenset({"steps"}))
    run_folder.claim(tmp_path, "test", Config(), resume=True, overwrite=False, adjustable=frozenset({"steps"}))
    with pytest.raises(CheckpointError, match=r"`inner.rate` was 0.1 and is 0.2; `steps` was 3 and is 4"):
        run_folder.claim(tmp_path, "test", Config(steps=4, inner=Inner(0.2)), resume=True, overwrite=False)


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space left"):
            run_folder.claim(tmp_path / "run", "test", Config(), resume=False, overwrite=False)
    assert not list((tmp_path / "run").iterdir())


def test_a_kill_at_the_first_write_does_not_spoil_the_folder(tmp_path):
    (tmp_path / "run.json.partial").write_text('{"ste')
    run_folder.claim(tmp_path, "test", Config(), resume=False, overwrite=False)
    assert {entry.name for entry in tmp_path.iterdir()} == {"run.json", "run.lock"}


def test_there_must_be_a_run_to_resume(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("mistyped", "empty"):
        with pytest.raises(CheckpointError, match=rf"no run in .*{name} to resume. Leave out `--resume` to start one"):
            run_folder.claim(tmp_path / name, "test", Config(), resume=True, overwrite=False)
    assert not (tmp_path / "mistyped").exists() and not any((tmp_path / "empty").iterdir())


def test_a_run_that_was_killed_before_its_first_write_can_be_resumed(tmp_path):
    (tmp_path / "run.lock").touch()
    run_folder.claim(tmp_path, "test", Config(), resume=True, overwrite=False)
    assert (tmp_path / "run.json").exists()


def test_a_folder_is_replaced_through_a_link(tmp_path):
    with run_folder.claimed(tmp_path / "run", "test", Config(), resume=False, overwrite=False) as folder:
        (folder / "result").write_text("old")
    (tmp_path / "link").symlink_to(folder)
    with run_folder.claimed(tmp_path / "link", "test", Config(2), resume=False, overwrite=True):
        assert not (folder / "result").exists()
    assert (tmp_path / "link").is_symlink() and [entry.name for entry in folder.iterdir()] == ["run.json"]


def test_what_killed_runs_left_half_written_is_removed(tmp_path):
    with run_folder.claimed(tmp_path, "test", Config(), resume=False, overwrite=False):
        pass
    (tmp_path / "checkpoints" / "10.7-1.partial").mkdir(parents=True)
    (tmp_path / "curve.jsonl.7-1.partial").touch()
    with run_folder.claimed(tmp_path, "test", Config(), resume=True, overwrite=False):
        assert not list(tmp_path.rglob("*.partial"))
