import numpy as np

from agents.baselines.baselines import Fixed, Neutral, Random
from agents.episodes.env_config import EnvConfig
from agents.episodes.episodes import Episodes, episode_seed, run_episodes

GATES = np.random.default_rng(0).random((5, 3)).astype(np.float32)


def test_episodes_match_stepping_by_hand(tiny_env: EnvConfig) -> None:
    """Each row alone, in an env that never restarts it, adds up to the same episode."""
    seeds = [11, 3, 5, 8, 21]
    env = tiny_env.make(5)
    episodes = run_episodes(Fixed(GATES), env, seeds)
    assert len(set(episodes.lengths.tolist())) > 1  # some end early, with the end of text
    for row, seed in enumerate(seeds):
        alone = tiny_env.make(1, autoreset_mode="Disabled")
        alone.reset(seed=seed)
        assert tuple(alone.token_ids()[0]) == episodes.prompts[row]
        rewards, tokens, terms = [], [], []
        is_over = False
        while not is_over:
            _, reward, termination, truncation, info = alone.step(GATES[row : row + 1])
            is_over = termination[0] or truncation[0]
            rewards.append(reward[0])
            tokens.append(info["token"][0])
            terms.append(info["reward_diversity"][0])
        length = episodes.lengths[row]
        assert length == len(tokens)
        assert episodes.tokens[row, :length].tolist() == tokens
        np.testing.assert_allclose(episodes.rewards[row, :length], rewards, atol=1e-5)
        np.testing.assert_allclose(episodes.infos["reward_diversity"][row, :length], terms, atol=1e-5)
        np.testing.assert_array_equal(episodes.gates[row, :length], np.repeat(GATES[row : row + 1], length, axis=0))
        assert not episodes.rewards[row, length:].any()


def test_prompts_depend_on_the_seed_alone(tiny_env: EnvConfig) -> None:
    env = tiny_env.make(4)
    seeds = [episode_seed(7, number) for number in range(4)]
    first = run_episodes(Neutral(), env, seeds)
    second = run_episodes(Random(), env, seeds)
    assert first.prompts == second.prompts
    assert (first.tokens[:, 0] != second.tokens[:, 0]).any()
    # After other episodes in the same env, the same seeds give the same episodes again.
    np.testing.assert_array_equal(run_episodes(Neutral(), env, seeds).tokens, first.tokens)
    np.testing.assert_array_equal(run_episodes(Random(), env, seeds).gates, second.gates)


def episodes_of(lengths: list[int], first_token: int) -> Episodes:
    width = max(lengths)
    is_alive = np.arange(width) < np.array(lengths)[:, None]
    tokens = np.where(is_alive, first_token + np.arange(width), 0)
    return Episodes(
        prompts=tuple((first_token, row) for row in range(len(lengths))),
        tokens=tokens,
        gates=np.repeat(tokens[:, :, None], 3, axis=2).astype(np.float32),
        rewards=tokens / 10,
        infos={"entropy": tokens * 1.0},
        lengths=np.array(lengths),
    )


def test_join_pads_and_first_cuts() -> None:
    joined = Episodes.join([episodes_of([2, 1], 10), episodes_of([3], 20)])
    np.testing.assert_array_equal(joined.tokens, [[10, 11, 0], [10, 0, 0], [20, 21, 22]])
    np.testing.assert_array_equal(joined.is_alive, [[1, 1, 0], [1, 0, 0], [1, 1, 1]])
    np.testing.assert_allclose(joined.returns, [2.1, 1.0, 6.3])
    np.testing.assert_allclose(joined.sums("entropy"), [21, 10, 63])
    assert joined.mean("entropy") == 94 / 6
    assert joined.gates.shape == (3, 3, 3)
    assert joined.first(2).prompts == ((10, 0), (10, 1))
    assert joined.first(2).lengths.tolist() == [2, 1]
