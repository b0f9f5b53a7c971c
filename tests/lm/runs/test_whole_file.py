import os
import stat
import threading

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lm.runs.whole_file import append_json_line, write_json, write_json_lines, write_text, write_whole_file
from lm.runs.whole_folder import write_whole_folder


@pytest.fixture(params=[0o022, 0o002, 0o077])
def mode(request):
    before = os.umask(request.param)
    yield 0o666 & ~request.param
    os.umask(before)


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_every_file_gets_the_mode_that_the_umask_gives(tmp_path, mode):
    write_text(tmp_path / "text", "a\n")
    write_json(tmp_path / "json", {})
    write_json_lines(tmp_path / "lines", [1, 2])
    append_json_line(tmp_path / "lines", 3)
    with write_whole_file(tmp_path / "tensors") as partial:
        save_file({"a": torch.ones(2)}, partial)
    with write_whole_folder(tmp_path / "folder") as partial:
        save_file({"a": torch.ones(2)}, partial / "model.safetensors")
        (partial / "deeper").mkdir()
        np.save(partial / "deeper" / "b.npy", np.ones(2))
        (partial / "deeper" / "b.npy").chmod(0o600)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 6
    assert {mode_of(path) for path in files} == {mode}
    assert (tmp_path / "lines").read_text() == "1\n2\n3\n"
    assert load_file(tmp_path / "tensors")["a"].sum() == 2


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path):
    write_text(tmp_path / "a", "old")
    with pytest.raises(KeyboardInterrupt), write_whole_file(tmp_path / "a") as partial:
        partial.write_text("half")
        raise KeyboardInterrupt
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "old")]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "a")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "a").read_text() == "new" and (tmp_path / "link").is_symlink()


def test_threads_may_write_one_file_at_once(tmp_path):
    def write(number):
        for _ in range(50):
            write_json(tmp_path / "a.json", [number] * 1000)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "a.json").read_text().count("\n") == 1002
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_folder_that_is_there_first_stays_where_none_is_to_be_replaced(tmp_path):
    with write_whole_folder(tmp_path / "a", replace=False) as mine:
        (mine / "whose").write_text("mine")
        with write_whole_folder(tmp_path / "a", replace=False) as theirs:
            (theirs / "whose").write_text("theirs")
    assert (tmp_path / "a" / "whose").read_text() == "theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
