"""Compares the gated transformer with GPT-2 and with its variant without gates, on equal data and optimizer.

All three are trained by `lm.pretraining.pretrain` from the same preset with the same tokenizer and seed, for a short
run, and compared in bits per byte on unseen text.

    python benchmarks/models/architectures.py --train data/tinystories/train.txt --test data/tinystories/valid.txt
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.results_file import write_result
from lm.data.documents import cached_token_stream
from lm.evaluation.scoring import score_tokens, summarize
from lm.models.bundle import load_model
from lm.models.config import ModelConfig
from lm.pretraining.config import DataConfig, PretrainConfig, TrainingConfig
from lm.pretraining.run import pretrain
from lm.tokenizers.tokenization import load_tokenizer


def main() -> None:
    """Trains and scores each model, and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--tokenizer", default="lm/bundled/tidal-tiny")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--optimizer", default="adamw", choices=("adamw", "muon"))
    parser.add_argument("--learning_rate", type=float, default=3e-3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--only", nargs="+", default=["gated", "gateless", "gpt2"])
    arguments = parser.parse_args()
    families = {
        "gated": ModelConfig(),
        "gateless": ModelConfig(gated=False),
        "gpt2": ModelConfig(family="gpt2"),
    }
    rows = []
    with TemporaryDirectory() as folder:
        data = DataConfig(train=arguments.train, tokenizer=arguments.tokenizer, cache_dir=f"{folder}/cache")
        tokenizer = load_tokenizer(arguments.tokenizer)
        test = cached_token_stream(arguments.test, tokenizer, data.cache_dir)
        documents = [test.document(index) for index in range(test.num_documents)]
        for seed in arguments.seeds:
            training = TrainingConfig(
                max_steps=arguments.steps,
                batch_size=arguments.batch_size,
                optimizer=arguments.optimizer,
                learning_rate=arguments.learning_rate,
                evaluate_every=arguments.steps,
                seed=seed,
            )
            for name in arguments.only:
                config = PretrainConfig(model=families[name], data=data, training=training)
                start = time.perf_counter()
                result = pretrain(config, Path(folder) / f"{name}-{seed}")
                seconds = time.perf_counter() - start
                model = load_model(str(result.model_folder))
                scores = score_tokens(model, documents, context_length=config.model.context_length)
                score = summarize(scores, int(test.document_bytes.sum()))
                rows.append(
                    {
                        "model": name,
                        "seed": seed,
                        "parameters": result.num_parameters,
                        "training_tokens": result.steps * config.tokens_per_step,
                        "bits_per_byte": score.bits_per_byte,
                        "seconds": round(seconds, 1),
                    }
                )
                print(rows[-1], flush=True)
    print(write_result("models/architectures", {"arguments": vars(arguments), "runs": rows}))


if __name__ == "__main__":
    main()
