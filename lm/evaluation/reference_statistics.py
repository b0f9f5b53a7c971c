"""Measuring a model's reference statistics: token counts of one text, mean entropy on another."""

from __future__ import annotations

from transformers import PreTrainedModel

from lm.data.documents import TokenStream
from lm.evaluation.scoring import TextScore, score_tokens, summarize
from lm.models.reference_statistics import ReferenceStatistics
from lm.models.text_config import vocab_size_of


def score_stream(model: PreTrainedModel, stream: TokenStream, context_length: int) -> TextScore:
    """Score the documents of a token stream, each by itself and without gates."""
    documents = [stream.document(index) for index in range(stream.num_documents)]
    scores = score_tokens(model, documents, context_length=context_length)
    return summarize(scores, int(stream.document_bytes.sum()))


def measure_reference_statistics(
    model: PreTrainedModel, train: TokenStream, held_out: TokenStream, context_length: int
) -> ReferenceStatistics:
    """Count the tokens of `train`, and measure the model's mean entropy on `held_out`."""
    entropy = score_stream(model, held_out, context_length).entropy
    return ReferenceStatistics.from_tokens(train.tokens, vocab_size_of(model), human_entropy=entropy)
