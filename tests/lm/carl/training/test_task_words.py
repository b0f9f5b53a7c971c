from lm.carl.training.task_words import WordTask


def test_a_completion_without_text_earns_nothing():
    call = [{"role": "assistant", "content": None}]
    blocks = [{"role": "assistant", "content": [{"type": "text", "text": "star"}]}]
    assert WordTask(["star"])([call, blocks, [], "star"]) == [0.0, 1.0, 0.0, 1.0]
