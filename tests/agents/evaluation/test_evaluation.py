import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from agents.baselines.baselines import Fixed, Neutral, Random
from agents.baselines.decoders import decoder
from agents.episodes.env_config import EnvConfig
from agents.episodes.episodes import episode_seed, run_episodes
from agents.evaluation.evaluation import Evaluation, evaluate, paired_difference
from agents.evaluation.intervals import bootstrap_mean
from agents.evaluation.text_measures_config import TextMeasuresConfig
from lm.errors import InvalidValueError
from lm.runs.progress import Progress
from lm.runs.stop import RunCancelledError, StopRequest
from tests.agents.conftest import OPENINGS

HELDOUT = ["A cat and a dog sat on the mat", "The park was big and red"]

WEIGHTS = {"perplexity": 0.4, "diversity": 0.3, "repetition": 0.2, "coherence": 0.1}
"""Of the reward `tidal`."""


def evaluated(agent, env: EnvConfig, **changes) -> Evaluation:
    arguments = {"prompts": HELDOUT, "episodes": 10, "num_envs": 4, "num_samples": 3} | changes
    return evaluate(agent, env, **arguments)


def test_figures_are_those_of_the_episodes(tiny_env: EnvConfig) -> None:
    evaluation = evaluated(Random(), tiny_env, episodes=4)
    env = replace(tiny_env, prompts=HELDOUT).make(4)
    episodes = run_episodes(Random(), env, [episode_seed(0, number) for number in range(4)])
    np.testing.assert_allclose(evaluation.returns, episodes.returns)
    assert evaluation.mean_return.mean == pytest.approx(episodes.returns.mean())
    weighted = sum(weight * evaluation.term_sums[name] for name, weight in WEIGHTS.items())
    assert weighted == pytest.approx(evaluation.mean_return.mean, abs=1e-5)

    alive = [(row, step) for row in range(4) for step in range(episodes.lengths[row])]
    stability = np.array([episodes.gates[row, step, 2] for row, step in alive], np.float64)
    usage = evaluation.gates["stability"]
    assert (usage.mean, usage.std) == (pytest.approx(stability.mean()), pytest.approx(stability.std()))
    assert usage.quantiles["25"] == pytest.approx(np.percentile(stability, 25))
    first = [episodes.gates[row, 0, 2] for row in range(4)]
    assert usage.by_step[0] == pytest.approx(np.mean(first))
    surprisal = -np.mean([episodes.infos["log_prob"][row, step] for row, step in alive])
    assert evaluation.perplexity == pytest.approx(np.exp(surprisal))
    entropies = [episodes.infos["entropy"][row, step] for row, step in alive]
    assert evaluation.sampling_entropy == pytest.approx(np.mean(entropies))
    assert evaluation.text.length == pytest.approx(episodes.lengths.mean())


def test_samples_hold_text_and_gates(tiny_env: EnvConfig) -> None:
    evaluation = evaluated(Fixed((0.25, 0.5, 0.75)), tiny_env)
    assert len(evaluation.samples) == 3
    for row, sample in enumerate(evaluation.samples):
        assert any(opening.startswith(sample.prompt) for opening in HELDOUT)
        assert sample.text.startswith(sample.prompt)
        assert all(token.gates == (0.25, 0.5, 0.75) for token in sample.tokens)
        assert sample.total_reward == pytest.approx(evaluation.returns[row])
        token = sample.tokens[0]
        assert token.reward == pytest.approx(sum(WEIGHTS[name] * term for name, term in token.terms.items()), abs=1e-5)
        assert (token.temperature, token.log_prob) == (pytest.approx(0.75), -token.surprisal)


def test_everyone_meets_the_same_episodes(tiny_env: EnvConfig) -> None:
    """In float64 the number of rows changes no token; the prompts are the same for every agent."""
    env = replace(tiny_env, dtype="float64")
    first = evaluated(Neutral(), env, num_envs=4)
    again = evaluated(Neutral(), env, num_envs=10)
    assert [sample.text for sample in again.samples] == [sample.text for sample in first.samples]
    assert again.text == first.text
    assert again.returns == pytest.approx(first.returns, abs=1e-9)
    other = evaluated(Random(), env)
    assert [sample.prompt for sample in other.samples] == [sample.prompt for sample in first.samples]
    assert other.episodes_fingerprint == first.episodes_fingerprint
    assert other.returns != first.returns
    assert evaluated(Neutral(), env, seed=1).episodes_fingerprint != first.episodes_fingerprint
    assert evaluated(Neutral(), env, prompts=OPENINGS).episodes_fingerprint != first.episodes_fingerprint


def test_json_holds_everything(tiny_env: EnvConfig) -> None:
    evaluation = evaluated(Neutral(), tiny_env)
    content = json.loads(evaluation.to_json())
    assert content["agent"] == "neutral"
    assert content["returns"] == list(evaluation.returns)
    assert content["gates"]["focus"]["mean"] == 0.0
    assert content["samples"][0]["tokens"][0]["gates"] == [0.5, 0.0, 0.0]


def test_progress_counts_episodes(tiny_env: EnvConfig) -> None:
    told: list[Progress] = []
    evaluation = evaluated(Neutral(), tiny_env, progress=told.append)
    assert [(report.stage, report.done, report.total, report.unit) for report in told] == [
        ("Evaluating neutral", done, 10, "episodes") for done in (4, 8, 10)
    ]
    returns = evaluation.returns
    expected = [np.mean(returns[:done]) for done in (4, 8, 10)]
    assert [report.metrics["mean_return"] for report in told] == pytest.approx(expected)


def stop_at(done: int, how: str) -> tuple[StopRequest, Callable[[Progress], None]]:
    """A stop request, and what makes it when so many episodes are done."""
    stop = StopRequest()
    return stop, lambda report: getattr(stop, how)() if report.done == done else None


def test_an_evaluation_that_is_to_finish_evaluates_the_episodes_so_far(tiny_env: EnvConfig) -> None:
    whole = evaluated(Random(), tiny_env)
    for done in (4, 8, 10):
        stop, progress = stop_at(done, "finish")
        evaluation = evaluated(Random(), tiny_env, progress=progress, stop=stop)
        assert evaluation.returns == whole.returns[:done]
        assert evaluation.mean_return.mean == pytest.approx(np.mean(whole.returns[:done]))
        assert evaluation.samples == whole.samples
        if done < 10:
            with pytest.raises(InvalidValueError, match="must be of the same seed and prompts"):
                paired_difference(whole, evaluation)
    with pytest.raises(RunCancelledError, match="before its first episode"):
        evaluated(Random(), tiny_env, stop=stop)  # to finish before anything is there


def test_too_few_texts_so_far_are_not_measured(tiny_env: EnvConfig) -> None:
    stop, progress = stop_at(32, "finish")
    measures = TextMeasuresConfig(tiny_env.model)
    series = {"episodes": 64, "num_envs": 32, "measures": measures}
    evaluation = evaluate(Neutral(), tiny_env, prompts="heldout", progress=progress, stop=stop, **series)
    assert len(evaluation.returns) == 32 and evaluation.measures is None


def test_an_evaluation_that_is_to_cancel_ends_within_a_batch(tiny_env: EnvConfig) -> None:
    stop, progress = stop_at(4, "cancel")
    with pytest.raises(RunCancelledError):
        evaluated(Neutral(), tiny_env, progress=progress, stop=stop)

    class Cancels(Random):
        steps = 0

        def act(self, observations: np.ndarray) -> np.ndarray:
            self.steps += 1
            if self.steps == 2:
                within.cancel()
            return super().act(observations)

    within, agent = StopRequest(), Cancels()
    with pytest.raises(RunCancelledError):
        evaluated(agent, tiny_env, stop=within)
    assert agent.steps == 2


def test_bootstrap_interval_of_a_normal_mean() -> None:
    """For many normal values the interval is mean ± 1.96 standard errors."""
    values = np.random.default_rng(3).normal(5.0, 2.0, 400)
    interval = bootstrap_mean(values)
    error = 1.96 * values.std() / 20
    assert interval.mean == values.mean()
    assert interval.low == pytest.approx(values.mean() - error, abs=0.02)
    assert interval.high == pytest.approx(values.mean() + error, abs=0.02)
    assert str(interval) == f"{interval.mean:.2f} [{interval.low:.2f}, {interval.high:.2f}]"


def test_paired_difference_sees_what_the_means_hide(tiny_env: EnvConfig) -> None:
    first = evaluated(Neutral(), tiny_env)
    better = replace(first, returns=tuple(value + 0.01 for value in first.returns))
    difference = paired_difference(better, first)
    assert (difference.mean, difference.low, difference.high) == pytest.approx((0.01, 0.01, 0.01))
    with pytest.raises(InvalidValueError, match="^`second` must be of the same seed and prompts as `first`"):
        paired_difference(first, evaluated(Neutral(), tiny_env, seed=1))


def test_no_episodes_is_an_error(tiny_env: EnvConfig) -> None:
    with pytest.raises(InvalidValueError, match=r"^`episodes` must be at least 1\. Received 0\."):
        evaluated(Neutral(), tiny_env, episodes=0)
    with pytest.raises(InvalidValueError, match=r"^`episodes` must be at least 64 for measures of text\. Received 10"):
        evaluated(Neutral(), tiny_env, measures=TextMeasuresConfig())


def test_json_of_a_decoder_has_no_temperature(tiny_env: EnvConfig) -> None:
    """It is null: NaN would be no JSON."""
    text = evaluated(decoder("min-p"), tiny_env).to_json()
    assert "NaN" not in text
    assert json.loads(text)["samples"][0]["tokens"][0]["temperature"] is None
