"""One story, told token by token under an agent's gates, with all that can be said of each token."""

from __future__ import annotations

from dataclasses import dataclass

from agents.agent import Agent
from agents.env_config import EnvConfig
from agents.episodes import REWARD_PREFIX, episode_seed, run_episodes
from tidal_gym.rendering import token_pieces


@dataclass(frozen=True)
class StoryToken:
    """One drawn token."""

    text: str
    """What it adds to the story; empty for the end of text."""
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
    tokenizer = vector_env.bundle.tokenizer
    prompt, drawn = list(episodes.prompts[0]), episodes.tokens[0].tolist()
    infos = {name: values[0] for name, values in episodes.infos.items()}
    tokens = tuple(
        StoryToken(
            text="" if drawn[place] == tokenizer.eos_token_id else piece,
            gates=tuple(episodes.gates[0, place].tolist()),
            temperature=float(infos["temperature"][place]),
            penalty=float(infos["penalty"][place]),
            entropy=float(infos["entropy"][place]),
            surprisal=-float(infos["log_prob"][place]),
            reward=float(episodes.rewards[0, place]),
            terms={
                name.removeprefix(REWARD_PREFIX): float(values[place])
                for name, values in infos.items()
                if name.startswith(REWARD_PREFIX)
            },
        )
        for place, piece in enumerate(token_pieces(tokenizer, [*prompt, *drawn], start=len(prompt)))
    )
    return Story(agent.name, tokenizer.decode(prompt, skip_special_tokens=True), tokens)
