from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from lm.errors import CheckpointError, InvalidValueError
from lm.runs import RunCancelledError, read_events, read_record
from tests.tidal.jobs.small_jobs import CountConfig, FailConfig
from tidal.jobs.executors import JobDiedError, ProcessPool, ThisProcess
from tidal.jobs.registry import KINDS, Job, JobKind, job_kind, register

ROOT = Path(__file__).parents[3]


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} was not written"
        time.sleep(0.01)


def test_a_job_runs_here_and_in_a_pool_with_the_same_result(tmp_path: Path) -> None:
    with ProcessPool(2) as pool:
        for name, executor in (("here", ThisProcess()), ("pool", pool)):
            result = executor.submit(Job("count", CountConfig(4), tmp_path / name)).result(60)
            assert result.figures == {"counted": 4} and result.files == {"count": tmp_path / name / "counted"}
            record = read_record(tmp_path / name)
            assert record is not None and (record.kind, record.state) == ("count", "completed")
            done = [event["done"] for event in read_events(tmp_path / name / "events.jsonl", name="progress")]
            assert done == [1, 4]  # the first and the last; between them one a second
        assert ThisProcess().submit(Job("count", CountConfig())).result().details == "here"
        assert pool.submit(Job("count", CountConfig())).result(60).details is None


def test_errors_of_jobs_reach_who_waits(tmp_path: Path) -> None:
    with ProcessPool(1) as pool:
        for executor in (ThisProcess(), pool):
            with pytest.raises(InvalidValueError, match="`number` must be at least 0. Received -1"):
                executor.submit(Job("count", CountConfig(-1))).result(60)
            with pytest.raises(ZeroDivisionError, match="by mistake"):
                executor.submit(Job("fail", FailConfig())).result(60)
            with pytest.raises(CheckpointError, match="There is no run in"):
                executor.submit(Job("count", CountConfig(), tmp_path / "none", resume=True)).result(60)


def test_a_job_whose_process_dies_is_tried_once_more(tmp_path: Path) -> None:
    (tmp_path / "die").touch()
    with ProcessPool(1) as pool:
        jobs = [CountConfig(1, dies=str(tmp_path / "die")), CountConfig(2, dies="always"), CountConfig(3)]
        once, always, never = [pool.submit(Job("count", config)) for config in jobs]
        assert once.result(60).figures == {"counted": 1}
        with pytest.raises(JobDiedError, match="Its process died"):
            always.result(60)
        assert never.result(60).figures == {"counted": 3}


@pytest.mark.parametrize("way", ["finish", "cancel"])
def test_a_job_in_another_process_is_stopped_through_its_folder(tmp_path: Path, way: str) -> None:
    with ProcessPool(1) as pool:
        submitted = pool.submit(Job("count", CountConfig(10_000, seconds=0.05), tmp_path / "run"))
        queued = pool.submit(Job("count", CountConfig(), tmp_path / "queued"))
        wait_for(tmp_path / "run" / "events.jsonl")
        queued.cancel()
        assert queued.future.cancelled()
        getattr(submitted, way)()
        if way == "finish":
            assert 0 < submitted.result(60).figures["counted"] < 10_000
        else:
            with pytest.raises(RunCancelledError):
                submitted.result(60)
    record = read_record(tmp_path / "run")
    assert record is not None and record.state == {"finish": "completed", "cancel": "cancelled"}[way]
    assert (tmp_path / "run" / "counted").exists() == (way == "finish")
    assert not (tmp_path / "queued").exists()
    # The request does not stop the next run in the folder.
    replaced = Job("count", CountConfig(2), tmp_path / "run", overwrite=True)
    assert ThisProcess().submit(replaced).result().figures == {"counted": 2}


KILLED = """
import sys
from pathlib import Path
from tests.tidal.jobs.small_jobs import CountConfig
from tidal.jobs.executors import ProcessPool
from tidal.jobs.registry import Job

if __name__ == "__main__":
    pool = ProcessPool(1)
    pool.submit(Job("count", CountConfig(10_000, seconds=0.05), Path(sys.argv[1]))).result()
"""


def test_workers_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(KILLED)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, str(script), str(tmp_path / "run")], env=environment)
    wait_for(tmp_path / "run" / "events.jsonl")
    workers = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert workers and not psutil.wait_procs(workers, timeout=30)[1]


def test_what_a_job_must_say(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match="`kind` must be a kind of job: pretrain, .*Did you mean `pretrain`"):
        Job("pretrian", CountConfig())
    with pytest.raises(InvalidValueError, match="`config` must be a CountConfig for a job of kind `count`"):
        Job("count", FailConfig())
    with pytest.raises(InvalidValueError, match="`folder` must be given for a job of kind `train`"):
        Job("train", job_kind("train").config_class()())
    with pytest.raises(InvalidValueError, match="`resume` must be false for a job of kind `fail`"):
        Job("fail", FailConfig(), tmp_path, resume=True)
    with pytest.raises(InvalidValueError, match="`workers` must be at least 1"):
        ProcessPool(0)
    with pytest.raises(InvalidValueError, match="`name` must be that of no registered kind"):
        register(KINDS["count"])


@pytest.mark.parametrize("kind", [kind for kind in KINDS.values() if kind.run_path.startswith("tidal.")],
    ids=lambda kind: kind.name)  # fmt: skip
def test_every_kind_has_its_configuration_and_its_function(kind: JobKind) -> None:
    assert kind.config_class().__dataclass_params__.frozen
    assert callable(kind.function())
