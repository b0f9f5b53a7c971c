"""The names that users import: a written list, what the packages give, and what their stubs tell type checkers."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("lm", "tidal_gym", "agents", "tidal")

PUBLIC = {
    "lm": """
        bundled_models CheckpointError DivergedError InvalidValueError MissingExtraError ModelFolderError
        OutputExistsError RunInUseError TidalGymError
    """,
    "lm.carl": """
        agent_step AgentStep carl_reward CarlDataConfig CarlGRPOReward CarlTrainConfig CarlTrainResult
        CarlWeights cloud_quality coherence_gate compute_phi DEFECT_THRESHOLD discontinuity_score
        FineTuningConfig GateDecision GrowingReward KAPPA KAPPA_SIGMA kuramoto_order multiscale_coherence
        novelty PhaseAdaptiveWeights PhaseTransitionGate PolicyConfig SIGMA t_star token_field TokenField train
    """,
    "lm.data": """
        cached_token_stream ControlCodeConfig ControlCodes read_documents tokenize_documents TokenStream
        TokenWindows
    """,
    "lm.decoding": """
        AdapTLogitsProcessor EDTLogitsProcessor inverse_cdf_sample MirostatV2LogitsProcessor top_k top_p_mask
        TopNSigmaLogitsProcessor
    """,
    "lm.evaluation": """
        measure_reference_statistics score_stream score_tokens summarize TextScore TokenScores
    """,
    "lm.models": """
        build_model Bundle DynamicGate GATE_NAMES GatedTransformer GatedTransformerConfig load_bundle load_model
        load_model_and_tokenizer ModelConfig NEUTRAL_GATES ReferenceStatistics save_bundle
    """,
    "lm.pretraining": """
        DataConfig pretrain PretrainConfig PretrainResult TrainingConfig
    """,
    "lm.rlm": """
        ExamplesConfig GrammarConfig leaf_distribution load_grammar_of make_task masked_leaf_posterior
        mutual_information next_leaf_posterior OptimizationConfig pair_distribution pair_statistics
        RandomGrammar RLMConfig RLMResult root_posterior rule_statistics run_sweep sentence_entropy
        SentenceEntropy SweepConfig Task train_on_grammar
    """,
    "lm.runs": """
        EventLog Progress read_events read_record RunCancelledError RunRecord StopRequest
    """,
    "lm.streams": """
        DecodingStream open_stream PromptOutput StreamOutput
    """,
    "lm.tokenizers": """
        load_tokenizer train_bpe
    """,
    "tidal_gym": """
        CarlReward CarlRewardConfig ModulationConfig OBSERVATION_NAMES register_cost register_reward
        TidalGatingEnv TidalGatingVectorEnv TidalRLMEnv TidalRLMVectorEnv VectorCarlReward
    """,
    "agents": """
        Agent Analysis AnalysisConfig analyze BetaDistribution BetaPolicy compare_distances ConstraintConfig
        Controller Decoder decoder EnvConfig Episodes evaluate Evaluation Fixed GatedGeneration
        generate_tokens Neutral OneStepOracle paired_difference Planner PPOConfig PPOLagrangian Random
        read_tuning run_episodes Story SuccessiveHalving tell_story TextMeasures TextMeasuresConfig train TrainConfig
        TPE TrainingProgress tune Tuning VectorEnvToSB3 WarmStartConfig
    """,
}
"""What users import, by package."""


def run(code: str) -> str:
    completed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert completed.returncode == 0, completed.stderr
    return completed.stdout.strip()


def stub_of(package: str) -> dict[str, str]:
    """Module of each name in a package's stub."""
    stub = ROOT.joinpath(*package.split("."), "__init__.pyi")
    statements = ast.parse(stub.read_text(encoding="utf-8")).body
    imports = [statement for statement in statements if isinstance(statement, ast.ImportFrom)]
    assert len(imports) == len(statements) and all(statement.level == 1 for statement in imports)
    assert all(alias.asname == alias.name for statement in imports for alias in statement.names)  # a re-export
    return {alias.name: f"{package}.{statement.module}" for statement in imports for alias in statement.names}


def test_every_package_with_public_names_is_listed() -> None:
    stubs = {stub for package in PACKAGES for stub in (ROOT / package).rglob("__init__.pyi")}
    assert {".".join(stub.parent.relative_to(ROOT).parts) for stub in stubs} == set(PUBLIC)


@pytest.mark.parametrize("package", PUBLIC)
def test_public_names(package: str) -> None:
    """The same names in the list, at run time and in the stub, and the same objects as in their modules."""
    module, stub = importlib.import_module(package), stub_of(package)
    assert sorted(module.__all__) == sorted(stub) == sorted(PUBLIC[package].split())
    assert set(stub) <= set(dir(module))
    for name, source in stub.items():
        assert getattr(module, name) is getattr(importlib.import_module(source), name)


@pytest.mark.parametrize("package", PUBLIC)
def test_no_public_name_is_a_module(package: str) -> None:
    """Else it would depend on what was imported before which of the two one gets."""
    folder = ROOT.joinpath(*package.split("."))
    modules = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}
    assert modules.isdisjoint(PUBLIC[package].split())


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="No agents attribute Oracle"):
        importlib.import_module("agents").Oracle  # noqa: B018


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_has_its_types(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()


def test_imports_are_light() -> None:
    heavy = ("torch", "transformers", "stable_baselines3", "datasets", "matplotlib")
    code = f"import {', '.join(PUBLIC)}, sys; print([name for name in {heavy} if name in sys.modules])"
    assert run(code) == "[]"


@pytest.mark.parametrize("imports", ["import lm, transformers", "import transformers, lm"])
@pytest.mark.parametrize(
    ("auto_class", "expected"),
    [
        ("AutoConfig", "lm.models.gated_transformer_config.GatedTransformerConfig"),
        ("AutoModelForCausalLM", "lm.models.gated_transformer.GatedTransformer"),
    ],
)
def test_the_auto_classes_know_the_gated_transformer(imports: str, auto_class: str, expected: str) -> None:
    code = (
        f"{imports}\n"
        f'found = type(transformers.{auto_class}.from_pretrained("lm/bundled/tidal-tiny"))\n'
        'print(f"{found.__module__}.{found.__qualname__}")'
    )
    assert run(code) == expected


def test_a_class_of_transformers_that_was_loaded_before_knows_the_gated_transformer() -> None:
    code = (
        "from transformers import AutoModelForCausalLM\nimport lm\n"
        'print(type(AutoModelForCausalLM.from_pretrained("lm/bundled/tidal-tiny")).__name__)'
    )
    assert run(code) == "GatedTransformer"
