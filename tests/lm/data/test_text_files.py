"""Other people's text at the border: what is read, and what each mistake is called."""

from __future__ import annotations

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lm.data.documents import read_documents, require_documents, tokenize_documents
from lm.data.text_files import lines_of, require_text
from lm.errors import InvalidValueError
from lm.tokenizers.tokenization import END_OF_TEXT, train_bpe

ROWS = b'{"text": "One."}\n\n{"text": null}\r\n{"text": "Two\\u2028words"}\n'


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def to_file(name: str, content: bytes) -> str:
        (tmp_path / name).write_bytes(content)
        return name

    return to_file


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", b"\xef\xbb\xbfOne.\n<|endoftext|>\nTwo\xe2\x80\xa8words"),
        ("a.TXT", b"One.\r\n<|endoftext|>\r\nTwo\xe2\x80\xa8words\r\n<|endoftext|>\r\n"),
        ("a.txt.gz", gzip.compress(b"One.\n<|endoftext|>\nTwo\xe2\x80\xa8words\n", mtime=0)),
        ("a.jsonl", b"\xef\xbb\xbf" + ROWS.replace(b'{"text": null}\r\n', b"")),
        ("a.JSONL.gz", gzip.compress(ROWS.replace(b'{"text": null}\r\n', b""), mtime=0)),
        ("a.json", b' [{"text": "One."}, {"text": "Two\\u2028words"}]'),
    ],
)
def test_formats_that_are_read(write, name, content):
    assert list(read_documents(write(name, content))) == ["One.", "Two\u2028words"]


def test_rows_with_null_are_skipped_and_counted(write):
    with pytest.warns(UserWarning, match=r"1 row with null is skipped, the last text being in line 4 of a\.jsonl\."):
        assert list(read_documents(write("a.jsonl", ROWS))) == ["One.", "Two\u2028words"]
    pq.write_table(pa.table({"text": ["One.", None, None]}), "a.parquet")
    with pytest.warns(UserWarning, match="2 rows with null are skipped"):
        assert list(read_documents("a.parquet")) == ["One."]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.jsonl", b'{"text": "One."}\n{"text": 5}', "or null in the column `text`. Received 5 in line 2"),
        ("a.jsonl", b'{"text": ["One."]}', r"Received \['One\.'\] in line 1 of a\.jsonl"),
        ("a.jsonl", b'{"text": "One."}\n["Two"]', r"with a column `text`. Received \['Two'\] in line 2"),
        ("a.jsonl", b'{"text": "One."}\n{"story": "x"}', r"\['story'\]. Received text, which line 2 of a\.jsonl"),
        ("a.jsonl", b'{"text": "One."}\n{"text": "Tw', "must hold JSON. Received .* in line 2 of a.jsonl"),
        ("a.jsonl", b'{"text": "One \\ud83d"}', r"the lone surrogate \\ud83d as character 5 in line 1 of a\.jsonl"),
        ("a.jsonl", b'{"text": "One"}\n{"text": "\xff"}', "Received the byte 0xff in line 2 of a.jsonl"),
        ("a.jsonl", b"[" * 100_000, "less deeply nested. Received line 1 of a.jsonl"),
        ("a.json", b'[{"text": 5}]', "Received 5 in row 1 of a.json"),
        ("a.parquet", b"no table", "must be a whole Parquet file. Received a.parquet"),
        ("a.txt.gz", b"not packed", "must be a readable file"),
        ("a.jsonl.gz", gzip.compress(ROWS, mtime=0)[:-12], "must be a readable file"),
        ("a.txt", b"One.\ncaf\xe9", "must be UTF-8 text. Received the byte 0xe9 in line 2 of a.txt"),
        ("a.txt", "One.".encode("utf-16"), "It seems to be UTF-16"),
        ("a.txt", b"One.\nT\0wo", "Received a NUL byte in line 2 of a.txt"),
        ("a.csv", b"text\nOne.", r"must be a \.txt, \.jsonl or .*'a\.csv' \(another kind of file\)"),
        ("text", b"One.", r"must be a \.txt.*Received 'text'"),
        ("a.txt", b"", "must hold at least one document that is not empty. Received a.txt"),
        ("a.jsonl", b"\n", "must hold at least one document that is not empty. Received a.jsonl"),
        ("a.parquet", b"", "must be a whole Parquet file"),
    ],
)
def test_mistakes_name_file_line_and_rule(write, name, content, says):
    with pytest.raises(InvalidValueError, match=says) as caught:
        require_documents(write(name, content), parameters=("file", "column"))
    assert str(caught.value).startswith(("`file`", "`column`")) and "\n" not in str(caught.value)


@pytest.mark.parametrize("source", [".", "./nowhere", "~/nowhere", "no\0where.txt", ""])
def test_what_is_no_file(source):
    with pytest.raises(InvalidValueError, match="`source` must be"):
        require_documents(source)


def test_lines_end_at_line_breaks_alone():
    assert lines_of("a\x0bb\u2028c\x85\r\nd\n\ne") == ["a\x0bb\u2028c\x85", "d", "", "e"]


def test_half_a_pair_is_no_text():
    assert require_text("\U0001f600", "text") == "\U0001f600"
    with pytest.raises(InvalidValueError, match=r"`text` must be valid Unicode\. Received the lone surrogate \\udcff"):
        require_text("a\udcff", "text")


def test_special_tokens_in_documents_are_plain_text(write):
    tokenizer = train_bpe(["a b c"], vocab_size=257)
    document = f"a {END_OF_TEXT} b"
    rows = write("a.jsonl", json.dumps({"text": document}).encode())
    stream = tokenize_documents(read_documents(rows), tokenizer)
    assert (stream.tokens == 0).tolist() == [True, *[False] * len(document), True]
    assert tokenizer.decode(stream.document(0)[1:].tolist()) == document
