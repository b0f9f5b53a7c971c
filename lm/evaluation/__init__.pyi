from .scoring import (
    TextScore as TextScore,
)
from .scoring import (
    TokenScores as TokenScores,
)
from .scoring import (
    score_tokens as score_tokens,
)
from .scoring import (
    summarize as summarize,
)
