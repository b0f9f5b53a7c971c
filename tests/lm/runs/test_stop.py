import pytest

from lm.runs.stop import RunCancelledError, StopRequest


def test_a_cancel_overrides_a_finish() -> None:
    stop = StopRequest()
    assert not stop.is_requested and not stop.is_cancelled
    stop.finish()
    assert stop.is_requested and not stop.is_cancelled
    stop.raise_if_cancelled()
    stop.cancel()
    with pytest.raises(RunCancelledError):
        stop.raise_if_cancelled()


def test_work_that_must_be_whole_is_only_cancelled() -> None:
    stop = StopRequest(max_minutes=1e-9)
    part = stop.cancel_only()
    stop.finish()
    assert stop.is_requested and not part.is_requested
    stop.cancel()
    assert part.is_cancelled and part.is_requested
