"""Ctrl-C and SIGTERM at any moment: a line, an exit code, and no process that is left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[3]


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "tidal", *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def importing(process):
    """Wait until torch is being imported."""
    deadline, files = time.monotonic() + 60, psutil.Process(process.pid).memory_maps
    while time.monotonic() < deadline and not any("torch" in file.path for file in files()):
        time.sleep(0.002)


@pytest.mark.parametrize(("number", "code", "word"), [
    (signal.SIGINT, 130, "Interrupted."), (signal.SIGTERM, 143, "Terminated.")])  # fmt: skip
@pytest.mark.parametrize("delay", [0.0, 0.3, 0.7])
def test_a_signal_while_importing(number, code, word, delay):
    process = start("score", "--model", "tidal-tiny", "Once upon a time")
    importing(process)
    time.sleep(delay)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode in (code, 0)  # 0: it was done already
    assert "Traceback" not in err and (word in err or process.returncode == 0), err


POOL = """
import sys
from pathlib import Path
from tests.tidal.jobs.small_jobs import CountConfig
from tidal.jobs.executors import ProcessPool
from tidal.jobs.registry import Job

if __name__ == "__main__":
    try:
        with ProcessPool(2) as pool:
            config = CountConfig(10_000, seconds=0.05)
            jobs = [pool.submit(Job("count", config, Path(sys.argv[1], name))) for name in "ab"]
            while not all(Path(sys.argv[1], name, "events.jsonl").exists() for name in "ab"):
                pass
            print("running", flush=True)
            jobs[0].result()
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        sys.exit(130)
"""


def test_ctrl_c_ends_the_workers_without_a_word(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(POOL)
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "run")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout.readline() == "running\n"
    children = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and out.endswith("interrupted\n")
    assert err == ""
    assert not psutil.wait_procs(children, timeout=10)[1]
