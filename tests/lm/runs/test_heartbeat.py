"""The heartbeat of a run."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import psutil

from lm.runs import heartbeat


def test_a_heartbeat_lives_as_long_as_its_run(tmp_path: Path) -> None:
    assert heartbeat.age(tmp_path) is None and not heartbeat.is_alive(tmp_path)
    with heartbeat.beating(tmp_path, seconds_between=0.01):
        first = _wait_for(tmp_path, after=0.0)
        assert first["pid"] == os.getpid() and first["process_started"] == psutil.Process().create_time()
        assert _wait_for(tmp_path, after=first["time"])["time"] > first["time"]  # renewed
        assert heartbeat.is_alive(tmp_path)
    assert not (tmp_path / heartbeat.HEARTBEAT_FILE).exists()


def test_an_old_or_torn_heartbeat_is_no_sign_of_life(tmp_path: Path) -> None:
    path = tmp_path / heartbeat.HEARTBEAT_FILE
    path.write_text(json.dumps({"time": time.time() - heartbeat.STALE_AFTER - 1}), encoding="utf-8")
    assert not heartbeat.is_alive(tmp_path) and (heartbeat.age(tmp_path) or 0) > heartbeat.STALE_AFTER
    path.write_text('{"time": 1', encoding="utf-8")
    assert heartbeat.age(tmp_path) is None and not heartbeat.is_alive(tmp_path)


def _wait_for(folder: Path, after: float) -> dict[str, float]:
    """The first whole heartbeat that is newer than `after`."""
    while True:
        try:
            beat = json.loads((folder / heartbeat.HEARTBEAT_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            beat = {"time": 0.0}
        if beat["time"] > after:
            return beat
        time.sleep(0.001)
