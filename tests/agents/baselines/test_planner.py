import numpy as np
import pytest

from agents.baselines.baselines import Neutral, Random
from agents.baselines.oracle import OneStepOracle
from agents.baselines.planner import Planner
from agents.episodes.env_config import EnvConfig
from agents.episodes.episodes import run_episodes
from lm.errors import InvalidValueError

LEVELS = (3, 2, 2)


def test_of_depth_one_is_the_one_step_oracle(tiny_env: EnvConfig) -> None:
    oracle, planner = (
        run_episodes(agent, tiny_env.make(4), range(4))
        for agent in (OneStepOracle(LEVELS), Planner(1, Neutral(), levels=LEVELS))
    )
    np.testing.assert_array_equal(planner.gates, oracle.gates)
    np.testing.assert_array_equal(planner.tokens, oracle.tokens)


def test_values_are_the_mean_of_what_follows(tiny_env: EnvConfig) -> None:
    """Against many plain episodes of two steps, whose rewards are those of the tokens drawn."""
    env = tiny_env.make(1)
    observations, _ = env.reset(seed=3)
    planner = Planner(2, Neutral(), candidates=3, rollouts=300, levels=(2, 2, 2))
    planner.start(env, 0)
    actions = planner.grid[[0, 3, 7]]
    found = planner._roll_out(actions[None])[0]
    copies = env.resized(600, autoreset_mode="SameStep")
    copies.reset(seed=0)
    for action, value in zip(actions, found, strict=True):
        uniforms = np.random.default_rng(1).random((600, env.max_episode_steps))
        copies.copy_rows(env, np.zeros(600, int), uniforms)
        ended = copies.step(np.tile(action, (600, 1)))[2]
        rewards = np.where(ended, 0.0, copies.step(Neutral().act(np.zeros((600, 64), np.float32)))[1])
        assert abs(rewards.mean() - value) < 4 * rewards.std() / np.sqrt(300)


def test_looks_further_than_the_next_token(tiny_env: EnvConfig) -> None:
    """Under a continuation that is bad wherever it goes, what follows decides between first tokens."""
    env = tiny_env.make(16)
    env.reset(seed=0)
    oracle, planner = OneStepOracle(LEVELS), Planner(4, Random(), candidates=12, rollouts=24, levels=LEVELS)
    chosen = []
    for agent in (oracle, planner):
        agent.start(env, 0)
        chosen.append(agent.act(np.zeros((16, 64), np.float32)))
    assert (chosen[0] != chosen[1]).any()


def test_planning_leaves_the_episode_as_it_is(tiny_env: EnvConfig) -> None:
    """A planner that is asked and not obeyed."""

    class Asks(Neutral):
        def start(self, vector_env, seed):
            self.planner = Planner(3, Random(), candidates=2, rollouts=2, levels=LEVELS)
            self.planner.start(vector_env, seed)

        def act(self, observations):
            self.planner.act(observations)
            return super().act(observations)

    asked, left_alone = (run_episodes(agent, tiny_env.make(3), range(3)) for agent in (Asks(), Neutral()))
    np.testing.assert_array_equal(asked.tokens, left_alone.tokens)
    np.testing.assert_array_equal(asked.rewards, left_alone.rewards)


@pytest.mark.parametrize("name", ["depth", "candidates", "rollouts"])
def test_bad_numbers_are_named(name: str) -> None:
    with pytest.raises(InvalidValueError, match=rf"^`{name}` must be at least 1\. Received 0"):
        Planner(**{"depth": 1, "continuation": Neutral(), name: 0})
