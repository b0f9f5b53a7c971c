"""Stories: episodes as records of their tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase
from transformers.convert_slow_tokenizer import bytes_to_unicode

from agents.episodes.agent import Agent
from agents.episodes.drawn_tokens import Alternative, DrawnToken, drawn_token
from agents.episodes.env_config import EnvConfig
from agents.episodes.episodes import Episodes, episode_seed, run_episodes
from tidal_gym.dynamics.candidates import Candidates
from tidal_gym.envs.text.token_pieces import token_pieces

NUM_ALTERNATIVES = 5


@dataclass(frozen=True)
class Story:
    """A prompt with the record of each token of its continuation."""

    agent: str
    """Name of the agent that set the gates."""
    prompt: str
    """Text of the prompt."""
    tokens: tuple[DrawnToken, ...]
    """Records of the drawn tokens."""

    @property
    def text(self) -> str:
        """Text of prompt and continuation."""
        return self.prompt + "".join(token.text for token in self.tokens)

    @property
    def total_reward(self) -> float:
        """Sum of the tokens' rewards."""
        return sum(token.reward for token in self.tokens)


def tell_story(agent: Agent, env: EnvConfig, *, seed: int, episode: int = 0) -> Story:
    """Run one of the episodes that ``agents.evaluation.evaluation.evaluate`` runs: same prompt, same random numbers.

    Args:
        agent: agent that sets the gates.
        env: environment with the prompts to use.
        seed: seed of the evaluation.
        episode: index of the episode in the evaluation.
    """
    vector_env = env.make(1)
    try:
        episodes = run_episodes(agent, vector_env, [episode_seed(seed, episode)])
    finally:
        vector_env.close()
    return story_of(episodes, 0, vector_env.bundle.tokenizer, agent.name)


def story_of(
    episodes: Episodes,
    row: int,
    tokenizer: PreTrainedTokenizerBase,
    agent: str,
    candidates: Sequence[Candidates] | None = None,
) -> Story:
    """Makes the story of a finished episode.

    Args:
        episodes: finished episodes.
        row: index of the episode.
        tokenizer: tokenizer of the model.
        agent: name of the agent that set the gates.
        candidates: candidate tokens at each token, in the same row; None if not recorded.
    """
    prompt, drawn = list(episodes.prompts[row]), episodes.tokens[row, : episodes.lengths[row]].tolist()
    infos = {name: values[row] for name, values in episodes.infos.items()}
    pieces = token_pieces(tokenizer, [*prompt, *drawn], start=len(prompt))
    tokens = [
        drawn_token(
            token_id=drawn[place],
            text="" if drawn[place] == tokenizer.eos_token_id else piece,
            gates=episodes.gates[row, place],
            reward=episodes.rewards[row, place],
            infos={name: values[place] for name, values in infos.items()},
            **({} if candidates is None else _recorded(candidates[place], row, drawn[place], tokenizer)),
        )
        for place, piece in enumerate(pieces)
    ]
    return Story(agent, tokenizer.decode(prompt, skip_special_tokens=True), tuple(tokens))


def _recorded(candidates: Candidates, row: int, drawn: int, tokenizer: PreTrainedTokenizerBase) -> dict:
    tokens, q, p = (column[row] for column in candidates)
    rank = int(np.flatnonzero(tokens == drawn)[0])
    best = [place for place in range(min(len(tokens), NUM_ALTERNATIVES + 1)) if place != rank][:NUM_ALTERNATIVES]
    found = [
        Alternative(int(tokens[place]), token_name(tokenizer, int(tokens[place])), float(q[place]), float(p[place]))
        for place in (rank, *best)
    ]
    return {"drawn": found[0], "rank": rank + 1, "alternatives": tuple(found[1:])}


def token_name(tokenizer: PreTrainedTokenizerBase, token_id: int) -> str:
    """Text of a single token, or its bytes as <0xE2><0x80> if they are part of a character."""
    text = tokenizer.decode([token_id])
    if "\ufffd" not in text:
        return text
    raw = tokenizer.convert_ids_to_tokens(token_id)
    byte_of = {character: byte for byte, character in bytes_to_unicode().items()}  # of byte-level tokenizers
    return "".join(f"<0x{byte_of[character]:02X}>" for character in raw) if set(raw) <= byte_of.keys() else raw
