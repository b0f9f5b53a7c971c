"""Stories: episodes told token by token, with all that can be said of each token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase
from transformers.convert_slow_tokenizer import bytes_to_unicode

from agents.agent import Agent
from agents.env_config import EnvConfig
from agents.episodes import REWARD_PREFIX, Episodes, episode_seed, run_episodes
from tidal_gym.candidates import Candidates
from tidal_gym.rendering import token_pieces

NUM_ALTERNATIVES = 5


@dataclass(frozen=True)
class Alternative:
    """A token that could have been drawn."""

    token_id: int
    """Its id."""
    text: str
    """What it stands for."""
    q: float
    """Its probability under q, the distribution that was drawn from."""
    p: float
    """Its probability under p, the neutral distribution."""


@dataclass(frozen=True)
class StoryToken:
    """One drawn token."""

    text: str
    """What it adds to the story; empty for the end of text, and while the bytes of a character are incomplete."""
    gates: tuple[float, ...]
    """Creativity, focus and stability that it was drawn under."""
    temperature: float
    """Temperature that it was drawn at."""
    penalty: float
    """Repetition penalty that it was drawn under."""
    entropy: float
    """Entropy of the distribution that it was drawn from [nats]."""
    surprisal: float
    """−log p under the neutral model [nats]."""
    reward: float
    """Its reward."""
    terms: dict[str, float]
    """The unweighted terms of the reward."""
    drawn: Alternative | None = None
    """The token itself, beside its alternatives; None if they were not recorded."""
    rank: int | None = None
    """Its place among the tokens that could be drawn, 1 for the most probable one under q; None if not recorded."""
    alternatives: tuple[Alternative, ...] = ()
    """The five most probable other tokens under q, or as many as there are; none if they were not recorded."""


@dataclass(frozen=True)
class Story:
    """A prompt and its continuation."""

    agent: str
    """Who set the gates."""
    prompt: str
    """What it began with."""
    tokens: tuple[StoryToken, ...]
    """What was drawn."""

    @property
    def total_reward(self) -> float:
        """Sum of the tokens' rewards."""
        return sum(token.reward for token in self.tokens)


def tell_story(agent: Agent, env: EnvConfig, *, seed: int, episode: int = 0) -> Story:
    """Run one of the episodes that ``agents.evaluation.evaluate`` runs: same prompt, same random numbers.

    Args:
        agent: who sets the gates.
        env: the environment, with the prompts to be used.
        seed: of the evaluation.
        episode: number of the episode.
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
    """The story of a finished episode.

    Args:
        episodes: one of which is told.
        row: which.
        tokenizer: of the model.
        agent: name of who set the gates.
        candidates: what could have been drawn at each token, in the same row; None if it was not recorded.
    """
    prompt, drawn = list(episodes.prompts[row]), episodes.tokens[row, : episodes.lengths[row]].tolist()
    infos = {name: values[row] for name, values in episodes.infos.items()}
    tokens = []
    for place, piece in enumerate(token_pieces(tokenizer, [*prompt, *drawn], start=len(prompt))):
        recorded = {} if candidates is None else _recorded(candidates[place], row, drawn[place], tokenizer)
        tokens.append(
            StoryToken(
                text="" if drawn[place] == tokenizer.eos_token_id else piece,
                gates=tuple(episodes.gates[row, place].tolist()),
                temperature=float(infos["temperature"][place]),
                penalty=float(infos["penalty"][place]),
                entropy=float(infos["entropy"][place]),
                surprisal=-float(infos["log_prob"][place]),
                reward=float(episodes.rewards[row, place]),
                terms={
                    name.removeprefix(REWARD_PREFIX): float(values[place])
                    for name, values in infos.items()
                    if name.startswith(REWARD_PREFIX)
                },
                **recorded,
            )
        )
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
    """What a token stands for by itself: its text, or its bytes as <0xE2><0x80> if they are part of a character."""
    text = tokenizer.decode([token_id])
    if "\ufffd" not in text:
        return text
    raw = tokenizer.convert_ids_to_tokens(token_id)
    byte_of = {character: byte for byte, character in bytes_to_unicode().items()}  # of byte-level tokenizers
    return "".join(f"<0x{byte_of[character]:02X}>" for character in raw) if set(raw) <= byte_of.keys() else raw
