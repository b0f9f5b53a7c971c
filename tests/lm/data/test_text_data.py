import json

import numpy as np
import pytest
from hypothesis import given, strategies as st

from lm.data.documents import TokenStream, TokenWindows, cached_token_stream, read_documents, tokenize_documents
from lm.errors import InvalidValueError, ModelFolderError
from lm.tokenizers.tokenization import END_OF_TEXT, load_tokenizer, train_bpe

STORIES = ["One day a cat sat.", "The dog ran to the cat.", "A fish swam, and the cat saw it. Ünïcode – ok."]


@pytest.fixture(scope="module")
def tokenizer():
    return train_bpe(STORIES, vocab_size=300)


def test_documents_of_every_format_are_the_same(tmp_path):
    text = tmp_path / "stories.txt"
    text.write_text(f"\n{END_OF_TEXT}\n".join(["", *STORIES, "  "]) + f"\n{END_OF_TEXT}\n", encoding="utf-8")
    jsonl = tmp_path / "stories.jsonl"
    jsonl.write_text("".join(json.dumps({"story": story}) + "\n" for story in STORIES), encoding="utf-8")
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"story": STORIES}), tmp_path / "stories.parquet")
    assert list(read_documents(str(text))) == STORIES
    assert list(read_documents(str(jsonl), text_field="story")) == STORIES
    assert list(read_documents(str(tmp_path / "stories.parquet"), text_field="story")) == STORIES


def test_data_that_cannot_be_read(tmp_path):
    with pytest.raises(InvalidValueError, match="`source` must be an existing file"):
        list(read_documents(str(tmp_path / "none.txt")))
    bad = tmp_path / "latin.txt"
    bad.write_bytes("café".encode("latin-1"))
    with pytest.raises(InvalidValueError, match="`source` must be UTF-8 text"):
        list(read_documents(str(bad)))
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"story": "x"}\n')
    with pytest.raises(InvalidValueError, match="`text_field` must be one of the columns \\['story'\\]. Received text"):
        list(read_documents(str(rows)))


@given(st.text())
def test_bpe_round_trip(text):
    tokenizer = train_bpe(["a b c"], vocab_size=257)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    if END_OF_TEXT not in text:
        assert tokenizer.decode(ids) == text


def test_encoding_puts_end_of_text_first(tokenizer, tmp_path):
    ids = tokenizer("One day")["input_ids"]
    assert ids[0] == tokenizer.bos_token_id == tokenizer.eos_token_id == 0
    assert ids[1:] == tokenizer("One day", add_special_tokens=False)["input_ids"]
    tokenizer.save_pretrained(tmp_path)
    assert load_tokenizer(str(tmp_path))("One day")["input_ids"] == ids
    with pytest.raises(InvalidValueError, match="`vocab_size` must be at least 257. Received 256."):
        train_bpe(STORIES, 256)


def test_a_folder_without_tokenizer_is_named(tmp_path):
    with pytest.raises(ModelFolderError, match="holds no tokenizer"):
        load_tokenizer(str(tmp_path))


def test_token_stream_holds_each_document_after_its_beginning(tokenizer):
    stream = tokenize_documents(STORIES, tokenizer)
    assert stream.tokens.dtype == np.uint16 and stream.tokens[-1] == 0
    for index, story in enumerate(STORIES):
        assert stream.document(index).tolist() == tokenizer(story)["input_ids"]
    assert stream.document_bytes.tolist() == [len(story.encode()) for story in STORIES]
    kept, cut = stream.split(0.3)
    assert (kept.num_documents, cut.num_documents) == (2, 1)
    assert kept.tokens[-1] == 0 and kept.document(1).tolist() == stream.document(1).tolist()
    assert cut.document(0).tolist() == stream.document(2).tolist()
    with pytest.raises(InvalidValueError, match="must hold at least one that is not empty"):
        tokenize_documents([], tokenizer)


def test_cache_is_read_back_and_follows_the_file(tokenizer, tmp_path):
    source = tmp_path / "stories.txt"
    source.write_text(f"\n{END_OF_TEXT}\n".join(STORIES), encoding="utf-8")
    fresh = tokenize_documents(STORIES, tokenizer)
    for _ in range(2):
        cached = cached_token_stream(str(source), tokenizer, str(tmp_path / "cache"))
        assert np.array_equal(cached.tokens, fresh.tokens) and isinstance(cached.tokens, np.memmap)
    assert len(list((tmp_path / "cache").iterdir())) == 1
    source.write_text("Another story.", encoding="utf-8")
    assert cached_token_stream(str(source), tokenizer, str(tmp_path / "cache")).num_documents == 1


def test_windows_are_consecutive_and_shifted_by_epoch():
    stream = TokenStream(np.arange(100, dtype=np.uint16), np.array([0, 99]), np.array([10]))
    windows = TokenWindows(stream, length=8, seed=3)
    offsets = set()
    for epoch in range(12):
        windows.set_epoch(epoch)
        items = [windows[index]["input_ids"].tolist() for index in range(len(windows))]
        flat = [token for item in items for token in item]
        assert flat == list(range(flat[0], flat[0] + 8 * len(windows)))
        offsets.add(flat[0])
    assert len(offsets) > 3 and max(offsets) < 8
    with pytest.raises(InvalidValueError, match="must hold at least two windows of 60 tokens. Received 100 tokens"):
        TokenWindows(stream, length=60, seed=0)
