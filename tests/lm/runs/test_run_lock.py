import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from lm.errors import RunInUseError
from lm.runs import run_folder

ROOT = Path(__file__).parents[3]

CLAIM = """
import os, sys
from dataclasses import dataclass
from lm.errors import RunInUseError
from lm.runs.run_folder import claimed

@dataclass(frozen=True)
class Config:
    steps: int = 3

folder, do = sys.argv[1:]
try:
    with claimed(folder, "test", Config(), resume=False if do == "start" else True, overwrite=False):
        if do != "fork" or os.fork() == 0:
            print("mine", flush=True)
        sys.stdin.read()
except RunInUseError as error:
    print(error, flush=True)
"""


@dataclass(frozen=True)
class Config:
    steps: int = 3


def other_process(folder, do="resume"):
    return subprocess.Popen(
        [sys.executable, "-c", CLAIM, str(folder), do],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.fixture
def folder(tmp_path):
    with run_folder.claimed(tmp_path / "run", "test", Config(), resume=False, overwrite=False) as folder:
        pass
    return folder


@pytest.mark.parametrize("choice", [{"resume": True, "overwrite": False}, {"resume": False, "overwrite": True}])
def test_a_run_in_use_is_left_alone_and_its_holder_named(folder, choice):
    (folder / "result").write_text("precious")
    holder = other_process(folder)
    assert holder.stdout.readline() == "mine\n"
    expected = rf"in use by process {holder.pid} \(`-c {folder} resume`\) since \d{{4}}-.*Wait until it ends, or choose"
    with pytest.raises(RunInUseError, match=expected):
        run_folder.claim(folder, "test", Config(), **choice)
    assert (folder / "result").read_text() == "precious"
    holder.communicate(timeout=20)
    assert not (folder / "run.lock").exists()
    with run_folder.claimed(folder, "test", Config(), **choice):
        assert (folder / "result").exists() == choice["resume"]


@pytest.mark.parametrize("do", ["resume", "fork"])
def test_the_lock_of_a_killed_process_is_taken_over(folder, do):
    holder = other_process(folder, do)
    try:
        assert holder.stdout.readline() == "mine\n"
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait(timeout=20)
        assert (folder / "run.lock").exists()
        with run_folder.claimed(folder, "test", Config(), resume=True, overwrite=False):
            # A forked child lives on, and does not hold the lock.
            assert json.loads((folder / "run.lock").read_text())["pid"] == os.getpid()
    finally:
        os.killpg(holder.pid, signal.SIGKILL) if do == "fork" else None
        holder.stdin.close()
        holder.stdout.close()


def test_of_processes_that_start_at_once_one_gets_the_folder(tmp_path):
    starters = [other_process(tmp_path / "new", "start") for _ in range(6)]
    lines = [starter.stdout.readline() for starter in starters]
    for starter in starters:
        starter.communicate(timeout=20)
    assert lines.count("mine\n") == 1
    assert sum("is in use" in line for line in lines) == 5
    assert [entry.name for entry in (tmp_path / "new").iterdir()] == ["run.json"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["new"]


def test_threads_of_a_process_exclude_each_other(folder):
    found = []

    def claim():
        try:
            run_folder.claim(folder, "test", Config(), resume=True, overwrite=False)
        except RunInUseError as error:
            found.append(str(error))

    with run_folder.claimed(folder, "test", Config(), resume=True, overwrite=False):
        thread = threading.Thread(target=claim)
        thread.start()
        thread.join()
    assert len(found) == 1 and f"by process {os.getpid()}" in found[0]


def test_a_child_does_not_release_what_its_parent_holds(folder):
    with run_folder.claimed(folder, "test", Config(), resume=True, overwrite=False):
        if (child := os.fork()) == 0:
            try:
                run_folder.run_lock.release(folder)
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        other = other_process(folder)
        assert f"in use by process {os.getpid()}" in other.communicate(timeout=20)[0]
