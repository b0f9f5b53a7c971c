import pytest

from lm.errors import InvalidValueError, OutputExistsError
from lm.runs.output_file import require_writable


def test_a_file_that_can_be_written_gets_its_folder_and_nothing_else(tmp_path):
    assert require_writable(tmp_path / "a" / "b.json", overwrite=False) == tmp_path / "a" / "b.json"
    assert not list((tmp_path / "a").iterdir())


def test_what_exists_is_replaced_only_if_requested(tmp_path):
    (tmp_path / "a").write_text("old")
    with pytest.raises(OutputExistsError, match="already exists"):
        require_writable(tmp_path / "a", overwrite=False)
    assert require_writable(tmp_path / "a", overwrite=True).read_text() == "old"
    with pytest.raises(OutputExistsError, match="is a folder"):
        require_writable(tmp_path, overwrite=True)


def test_what_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for path in ("/dev/null", "/proc/a.json", tmp_path / "file" / "a.json", tmp_path / ("a" * 300)):
        with pytest.raises(InvalidValueError, match="`output` must name a file"):
            require_writable(path, overwrite=True)
