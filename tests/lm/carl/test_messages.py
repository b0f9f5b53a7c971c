from lm.carl.messages import completion_text


def test_text_of_completions_as_trl_gives_them():
    block = {"type": "text", "text": "a star"}
    assert completion_text("a star") == "a star"
    answers = [{"role": "assistant", "content": text} for text in ("no", "a star")]
    assert completion_text(answers) == "a star"
    assert completion_text([{"role": "assistant", "content": None, "tool_calls": []}]) == ""
    assert completion_text([{"role": "assistant", "content": [{"type": "image"}, block]}]) == "a star"
    assert completion_text([{"role": "assistant"}]) == completion_text([]) == completion_text(None) == ""
