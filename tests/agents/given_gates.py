"""Episodes with gates that a test gives."""

import numpy as np

from agents.episodes.episodes import Episodes


def episodes_with(gates: list[list[float]], **infos: list[list[float]]) -> Episodes:
    """Episodes whose creativity is given, whose focus is 0.5 and whose stability is 1 − creativity."""
    lengths = np.array([len(row) for row in gates])
    width = max(lengths)

    def padded(rows: list[list[float]]) -> np.ndarray:
        return np.array([[*row, *[0.0] * (width - len(row))] for row in rows])

    is_alive = np.arange(width) < lengths[:, None]
    creativity = padded(gates)
    stacked = np.stack((creativity, np.full_like(creativity, 0.5), 1 - creativity), axis=2) * is_alive[:, :, None]
    return Episodes(
        prompts=tuple((1, 2) for _ in gates),
        tokens=is_alive.astype(np.int64),
        gates=stacked.astype(np.float32),
        rewards=padded(infos.pop("rewards", gates)),
        infos={"entropy": padded(infos.pop("entropy", gates)), **{key: padded(rows) for key, rows in infos.items()}},
        lengths=lengths,
    )
