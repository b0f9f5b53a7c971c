from .reference_statistics import (
    measure_reference_statistics as measure_reference_statistics,
    score_stream as score_stream,
)
from .scoring import (
    TextScore as TextScore,
    TokenScores as TokenScores,
    score_tokens as score_tokens,
    summarize as summarize,
)
