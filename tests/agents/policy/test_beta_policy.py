import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.distributions import kl_divergence as sb3_kl_divergence
from torch.nn.functional import softplus

from agents.episodes.sb3_adapter import VectorEnvToSB3
from agents.policy.beta_policy import MAX_CONCENTRATION, MIN_CONCENTRATION, BetaDistribution, BetaPolicy
from lm.errors import InvalidValueError
from tests.agents.toy_envs import TargetVectorEnv

UNIT = (torch.zeros(1), torch.ones(1))
# Pairs (alpha, beta), from nearly flat to the cap on one side and on both.
CONCENTRATIONS = [(1.001, 1.001), (1.69, 1.69), (5.0, 2.0), (1000.0, 1.001), (1.001, 1000.0), (1000.0, 1000.0)]


def raw(alpha: float, beta: float) -> torch.Tensor:
    """Inputs (1, 2) of the distribution that give these concentrations: the inverse of 1 + softplus."""
    excess = np.array([[alpha, beta]]) - 1
    return torch.as_tensor(excess + np.log(-np.expm1(-excess)))


def unit_distribution(alpha: float, beta: float) -> BetaDistribution:
    return BetaDistribution(*UNIT).proba_distribution(raw(alpha, beta))


@pytest.mark.parametrize(("alpha", "beta"), CONCENTRATIONS)
def test_log_prob_matches_scipy(alpha: float, beta: float) -> None:
    distribution = unit_distribution(alpha, beta)
    for action in (1e-5, 0.03, 0.5, 0.9, 0.9999):
        expected = scipy.stats.beta.logpdf(np.float64(np.float32(action)), alpha, beta)
        assert distribution.log_prob(torch.tensor([[action]])).item() == pytest.approx(expected, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(("alpha", "beta"), CONCENTRATIONS)
def test_entropy_matches_scipy(alpha: float, beta: float) -> None:
    expected = scipy.stats.beta.entropy(alpha, beta)
    assert unit_distribution(alpha, beta).entropy().item() == pytest.approx(expected, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("first", CONCENTRATIONS)
@pytest.mark.parametrize("second", CONCENTRATIONS)
def test_kl_matches_integral(first: tuple[float, float], second: tuple[float, float]) -> None:
    """Independent of the closed form: E_p[log p - log q], integrated over z = log(x / (1 - x)), so both tails fit."""
    z, spacing = np.linspace(-60, 60, 24001, retstep=True)
    log_x, log_1mx = -np.logaddexp(0, -z), -np.logaddexp(0, z)

    def log_density(alpha: float, beta: float) -> np.ndarray:
        return (alpha - 1) * log_x + (beta - 1) * log_1mx - scipy.special.betaln(alpha, beta)

    p, q = log_density(*first), log_density(*second)
    expected = spacing * np.sum(np.exp(p + log_x + log_1mx) * (p - q))  # dx = x (1 - x) dz
    distribution = unit_distribution(*first)
    actual = distribution.kl_divergence(unit_distribution(*second)).item()
    assert actual == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert sb3_kl_divergence(distribution, unit_distribution(*second)).sum().item() == pytest.approx(actual, rel=1e-5)


def test_box_is_reached_with_the_jacobian() -> None:
    """On the box [-1, 1] x [2, 7] the density is the unit density divided by 2 and by 5."""
    distribution = BetaDistribution(torch.tensor([-1.0, 2.0]), torch.tensor([1.0, 7.0]))
    distribution.proba_distribution(torch.cat((raw(3.0, 2.0), raw(4.0, 6.0)), dim=1)[:, [0, 2, 1, 3]])
    action = torch.tensor([[0.5, 3.0]])
    reference = [scipy.stats.beta(3, 2, loc=-1, scale=2), scipy.stats.beta(4, 6, loc=2, scale=5)]
    expected = sum(marginal.logpdf(value) for marginal, value in zip(reference, (0.5, 3.0), strict=True))
    assert distribution.log_prob(action).item() == pytest.approx(expected, rel=1e-6)
    expected = sum(marginal.entropy() for marginal in reference)
    assert distribution.entropy().item() == pytest.approx(expected, rel=1e-6)
    assert distribution.mode().squeeze().tolist() == pytest.approx([-1 + 2 * 0.6, 2 + 5 * 0.4])


def test_concentrations_keep_their_floor_and_cap() -> None:
    distribution = BetaDistribution(*UNIT).proba_distribution(torch.tensor([[-200.0, 1e6]]))
    assert distribution.distribution.concentration1.item() == pytest.approx(MIN_CONCENTRATION)
    assert distribution.distribution.concentration0.item() == pytest.approx(MAX_CONCENTRATION)
    distribution.proba_distribution(torch.tensor([[0.3, 2.0]]))
    assert distribution.distribution.concentration1.item() == pytest.approx(1 + softplus(torch.tensor(0.3)).item())


@pytest.mark.parametrize("inputs", [[-200.0, -200.0], [1e6, -200.0], [-200.0, 1e6], [1e6, 1e6], [0.0, 0.0]])
def test_everything_stays_finite_at_the_extremes(inputs: list[float]) -> None:
    concentrations = torch.tensor([inputs] * 2000, requires_grad=True)
    distribution = BetaDistribution(*UNIT).proba_distribution(concentrations)
    samples = distribution.sample()
    assert ((samples > 0) & (samples < 1)).all()
    for actions in (samples.detach(), torch.zeros(2000, 1), torch.ones(2000, 1)):
        total = distribution.log_prob(actions).sum() + distribution.entropy().sum()
        (gradient,) = torch.autograd.grad(total, concentrations, retain_graph=True)
        assert torch.isfinite(total)
        assert torch.isfinite(gradient).all()


def test_samples_follow_the_distribution() -> None:
    torch.manual_seed(0)
    distribution = BetaDistribution(torch.tensor([2.0]), torch.tensor([7.0]))
    samples = distribution.proba_distribution(raw(3.0, 5.0).repeat(4000, 1)).sample()
    result = scipy.stats.kstest(samples.squeeze(1).numpy(), scipy.stats.beta(3, 5, loc=2, scale=5).cdf)
    assert result.pvalue > 0.01


def test_sampled_actions_and_their_log_probs_agree() -> None:
    torch.manual_seed(0)
    raw_concentrations = torch.randn(100, 2)
    distribution = BetaDistribution(*UNIT)
    actions, log_probs = distribution.log_prob_from_params(raw_concentrations)
    assert torch.equal(distribution.log_prob(actions), log_probs)
    mean = distribution.actions_from_params(raw_concentrations, deterministic=True)
    alpha, beta = (1 + softplus(raw_concentrations)).T
    assert torch.allclose(mean.squeeze(1), alpha / (alpha + beta))


def make_ppo(seed: int = 0, **policy_kwargs: float) -> PPO:
    env = VectorEnvToSB3(TargetVectorEnv())
    return PPO(
        BetaPolicy, env, n_steps=16, batch_size=128, n_epochs=6, learning_rate=3e-3, gamma=0.0, seed=seed, device="cpu",
        policy_kwargs=policy_kwargs,
    )  # fmt: skip


def test_head_is_what_the_optimizer_holds() -> None:
    policy = make_ppo().policy
    held = {id(parameter) for group in policy.optimizer.param_groups for parameter in group["params"]}
    assert held == {id(parameter) for parameter in policy.parameters()}
    assert not hasattr(policy, "log_std")


def test_head_trains() -> None:
    """Reward is minus the distance to a target seen in the observation: about -0.5 for any constant, 0 at best."""
    model = make_ppo()
    head = model.policy.action_net.weight.detach().clone()
    model.learn(16 * 32 * 20)
    assert not torch.equal(head, model.policy.action_net.weight)
    observations = np.random.default_rng(1).uniform(-1, 1, (500, 2)).astype(np.float32)
    actions, _ = model.predict(observations, deterministic=True)
    distance = np.abs(actions / [1, 4] - (observations + 1) / 2).sum(axis=1).mean()
    assert distance < 0.25


def test_saved_policy_is_the_loaded_policy(tmp_path) -> None:
    model = make_ppo(min_concentration=1.5, max_concentration=50.0)
    model.learn(512)
    model.save(tmp_path / "model.zip")
    loaded = PPO.load(tmp_path / "model.zip", device="cpu")
    observations = np.random.default_rng(0).uniform(-1, 1, (7, 2)).astype(np.float32)
    expected, _ = model.predict(observations, deterministic=True)
    np.testing.assert_array_equal(loaded.predict(observations, deterministic=True)[0], expected)
    assert isinstance(loaded.policy, BetaPolicy)
    assert loaded.policy.action_dist.max_concentration == 50.0

    model.policy.save(tmp_path / "policy.pth")
    policy = BetaPolicy.load(tmp_path / "policy.pth", device="cpu")
    np.testing.assert_array_equal(policy.predict(observations, deterministic=True)[0], expected)
    assert (policy.min_concentration, policy.max_concentration) == (1.5, 50.0)


@pytest.mark.parametrize(
    ("action_space", "arguments", "message"),
    [
        (spaces.Discrete(3), {}, "`action_space` must be a Box with finite bounds. Received Discrete"),
        (spaces.Box(0, np.inf, (2,)), {}, "`action_space` must be a Box with finite bounds. Received Box"),
        (spaces.Box(0, 1, (2,)), {"min_concentration": 1.0}, "`min_concentration` must be above 1. Received 1.0."),
        (spaces.Box(0, 1, (2,)), {"max_concentration": 1.0}, "`max_concentration` must be above `min_concentration`"),
        (spaces.Box(0, 1, (2,)), {"use_sde": True}, "`use_sde` must be False for a Beta policy. Received True."),
    ],
)
def test_bad_arguments_are_named(action_space: spaces.Space, arguments: dict, message: str) -> None:
    with pytest.raises(InvalidValueError, match="^" + message.replace("(", r"\(")):
        BetaPolicy(spaces.Box(-1, 1, (4,)), action_space, lambda _: 1e-3, **arguments)
