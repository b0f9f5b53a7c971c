from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from agents.analysis.analysis import analyze
from agents.analysis.config import AnalysisConfig
from agents.analysis.extreme_settings import EXTREME_SETTINGS
from agents.analysis.recorder import Recorder
from agents.baselines.baselines import Neutral, Random
from agents.episodes.env_config import EnvConfig
from agents.episodes.episodes import run_series
from agents.episodes.stories import token_name
from agents.evaluation.evaluation import evaluate
from lm.errors import InvalidValueError
from lm.runs.progress import Progress
from lm.runs.stop import RunCancelledError, StopRequest

SHORT = AnalysisConfig(episodes=6, num_envs=4, stories=3, window=2, min_occurrences=1, repeated_prompts=3,
                       sweep_episodes=2, seed=3)  # fmt: skip


def test_candidates_are_what_is_drawn_from(tiny_env: EnvConfig) -> None:
    env = tiny_env.make(5)
    env.reset(seed=1)
    gates = np.random.default_rng(0).random((5, 3)).astype(np.float32)
    found = env.candidates(gates)
    again = env.candidates(gates)
    np.testing.assert_array_equal(found.q, again.q)  # nothing has changed
    assert found.tokens.shape == (5, 40) and (np.diff(found.q) <= 0).all()
    np.testing.assert_allclose(found.q.sum(axis=1), 1, rtol=1e-5)
    _, _, _, _, infos = env.step(gates)
    for row in range(5):
        place = np.flatnonzero(found.tokens[row] == infos["token"][row])
        assert found.p[row, place] == pytest.approx(np.exp(infos["log_prob"][row]), rel=1e-5)
    entropy = -(found.q * np.log(found.q)).sum(axis=1)
    np.testing.assert_allclose(entropy, infos["entropy"], rtol=1e-4)


def test_under_the_neutral_action_q_is_the_top_of_p(tiny_env: EnvConfig) -> None:
    env = replace(tiny_env, dtype="float64").make(3)
    env.reset(seed=2)
    found = env.candidates(np.tile(env.neutral_action, (3, 1)))
    assert found.p.sum(axis=1).max() < 1  # the other 250 tokens have the rest
    np.testing.assert_allclose(found.q, found.p / found.p.sum(axis=1, keepdims=True), rtol=1e-4)


def test_recording_changes_nothing(tiny_env: EnvConfig) -> None:
    env = tiny_env.make(4)
    plain = run_series(Random(), env, 6, 3)
    recorder = Recorder(Random(), rows=2)
    recorded = run_series(recorder, env, 6, 3)
    np.testing.assert_array_equal(recorded.tokens, plain.tokens)
    np.testing.assert_array_equal(recorded.rewards, plain.rewards)
    assert recorder.candidates[0].tokens.shape == (2, 40)
    entropy = recorder.neutral_entropy(recorded)
    assert entropy.shape == recorded.tokens.shape
    assert (entropy[recorded.is_alive] > 0).all() and not entropy[~recorded.is_alive].any()


def test_analysis(tiny_env: EnvConfig) -> None:
    reports: list[Progress] = []
    analysis = analyze(Random(), tiny_env, replace(SHORT, prompts=tiny_env.prompts), progress=reports.append)
    evaluation = evaluate(Random(), tiny_env, prompts=tiny_env.prompts, episodes=6, seed=3, num_envs=4)
    assert analysis.mean_return == evaluation.mean_return  # the very episodes that are evaluated
    assert analysis.gates["focus"].mean == pytest.approx(evaluation.gates["focus"].mean)
    assert [(report.stage, report.done, report.total) for report in reports] == [
        *(("Analysing random", done, 6) for done in (4, 6)),
        *(("Repeating the prompts", done, 6) for done in (4, 6)),
        *(("Sweeping the extreme settings", done, 15) for done in range(1, 16)),
    ]
    assert [setting.gates for setting in analysis.sweep] == list(EXTREME_SETTINGS)
    assert analysis.swept_return.mean == pytest.approx(np.mean(evaluation.returns[:2]))
    neutral = evaluate(Neutral(), tiny_env, prompts=tiny_env.prompts, episodes=2, seed=3, num_envs=2)
    assert analysis.sweep[0].mean_return.mean == pytest.approx(neutral.mean_return.mean, abs=1e-4)
    advantage = np.mean(evaluation.returns[:2]) - np.mean(neutral.returns)
    assert analysis.sweep[0].advantage.mean == pytest.approx(advantage, abs=1e-4)
    assert analysis.prompts is not None and 1 <= len(analysis.prompts.prompts) <= 3
    assert {one.second for one in analysis.correlations} >= {"entropy", "neutral_entropy"}
    json.dumps(analysis.to_json(), allow_nan=False)  # strictly JSON

    assert [len(story.tokens) for story in analysis.stories] == [len(s.tokens) for s in evaluation.samples[:3]]
    for token in (token for story in analysis.stories for token in story.tokens):
        assert len(token.alternatives) == 5 and token.drawn is not None
        assert token.drawn.token_id not in [one.token_id for one in token.alternatives]
        assert np.log(token.drawn.p) == pytest.approx(-token.surprisal, rel=1e-4, abs=1e-5)
        likelier = sum(one.q > token.drawn.q for one in token.alternatives)
        assert token.rank == likelier + 1 if token.rank <= 5 else likelier == 5


@pytest.mark.parametrize(
    ("reports", "episodes", "has_prompts", "has_sweep"),
    [(1, 4, False, False), (2, 6, False, False), (3, 6, False, False), (4, 6, True, False), (5, 6, True, False),
     (18, 6, True, False), (19, 6, True, True)],
)  # fmt: skip
def test_an_analysis_that_is_to_finish_holds_what_is_complete(
    tiny_env: EnvConfig, reports: int, episodes: int, has_prompts: bool, has_sweep: bool
) -> None:
    config = replace(SHORT, prompts=tiny_env.prompts)
    stop, seen = StopRequest(), []

    def progress(report: Progress) -> None:
        seen.append(report)
        if len(seen) == reports:
            stop.finish()

    analysis = analyze(Random(), tiny_env, config, progress=progress, stop=stop)
    assert len(seen) == reports and analysis.num_episodes == episodes
    evaluation = evaluate(Random(), tiny_env, prompts=tiny_env.prompts, episodes=6, seed=3, num_envs=4)
    assert analysis.mean_return.mean == pytest.approx(np.mean(evaluation.returns[:episodes]))
    assert (analysis.prompts is not None, len(analysis.sweep)) == (has_prompts, 15 * has_sweep)
    swept = 2 if has_sweep else 0
    assert analysis.num_swept == swept
    assert analysis.swept_return.mean == pytest.approx(np.mean(evaluation.returns[: swept or episodes]))
    assert len(analysis.stories) == 3


@pytest.mark.parametrize("reports", [0, 1, 3, 7])
def test_an_analysis_that_is_to_cancel_ends(tiny_env: EnvConfig, reports: int) -> None:
    stop, seen = StopRequest(), []

    def progress(report: Progress) -> None:
        seen.append(report)
        if len(seen) == reports:
            stop.cancel()

    if reports == 0:
        stop.cancel()
    with pytest.raises(RunCancelledError):
        analyze(Random(), tiny_env, replace(SHORT, prompts=tiny_env.prompts), progress=progress, stop=stop)
    assert len(seen) == reports


def test_what_is_not_asked_for_is_left_out(tiny_env: EnvConfig) -> None:
    config = AnalysisConfig(prompts=tiny_env.prompts, episodes=2, stories=0, repeated_prompts=0, sweep_episodes=0)
    analysis = analyze(Neutral(), tiny_env, config)
    assert analysis.prompts is None and analysis.sweep == () and analysis.stories == ()
    assert analysis.swept_return == analysis.mean_return
    assert all(one.value is None for one in analysis.correlations)  # constant gates


def test_fifteen_settings() -> None:
    assert len(set(EXTREME_SETTINGS)) == 15
    assert sum(set(gates) <= {0.0, 1.0} for gates in EXTREME_SETTINGS) == 8
    assert sum(sorted(gates)[1] == 0.5 and len(set(gates)) == 2 for gates in EXTREME_SETTINGS) == 6


@pytest.mark.parametrize(
    ("field", "value"),
    [("episodes", 0), ("seed", -1), ("num_envs", 0), ("stories", -1), ("window", 1), ("min_occurrences", 0),
     ("repeated_prompts", 1), ("repeated_prompts", -2), ("sweep_episodes", -1)],
)  # fmt: skip
def test_bad_settings(field: str, value: int) -> None:
    with pytest.raises(InvalidValueError, match=f"`{field}` must be .*Received {value}"):
        AnalysisConfig(**{field: value})


def test_names_of_tokens(tiny_env: EnvConfig) -> None:
    tokenizer = tiny_env.make(1).bundle.tokenizer
    (first, second) = tokenizer("é", add_special_tokens=False)["input_ids"]  # two bytes, each a token of its own
    assert (token_name(tokenizer, first), token_name(tokenizer, second)) == ("<0xC3>", "<0xA9>")
    assert token_name(tokenizer, tokenizer("&", add_special_tokens=False)["input_ids"][0]) == "&"
    assert token_name(tokenizer, 0) == "<|endoftext|>"
