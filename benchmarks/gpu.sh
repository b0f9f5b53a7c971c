#!/usr/bin/env bash
# Every check that needs a GPU, in under eight minutes on one of the H100 class:
#
#     benchmarks/gpu.sh                             # in the environment of `make install`, with a CUDA build of torch
#     PYTHON=python3 OUT=out benchmarks/gpu.sh      # another interpreter; copies of logs and figures go to OUT
#     DEVICE=cpu benchmarks/gpu.sh                  # a trial of the script itself, without a GPU
#
# A step that fails does not stop the others; the exit code is the number of failed steps. The figures are written to
# benchmarks/results/speed/*cuda*.json, which docs/speed.md quotes.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

DEVICE=${DEVICE:-cuda}
PYTHON=${PYTHON:-.venv/bin/python}
OUT=${OUT:-runs/gpu}
RUNS=$(mktemp -d)
export PYTHONUNBUFFERED=1 PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" HF_HUB_OFFLINE=1
trap 'rm -rf "$RUNS"' EXIT
mkdir -p "$OUT"
failed=0

step() { # name, command
    local name=$1 start=$SECONDS
    shift
    echo "== $name: $*"
    "$@" 2>&1 | tee "$OUT/$name.log"
    local code=${PIPESTATUS[0]}
    [ "$code" -eq 0 ] || failed=$((failed + 1))
    echo "== $name: exit code $code after $((SECONDS - start)) s"
}

"$PYTHON" -c 'import torch, transformers; print("torch", torch.__version__, "transformers", transformers.__version__,
torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU")' || exit 1

# The recorded CUDA graph of a step against the plain step, in float64. A skipped test is a failure here.
graph_test() {
    TIDAL_TEST_CUDA_DEVICES=0 timeout 120 "$PYTHON" -m pytest -q -p no:cacheprovider -o minversion=8 \
        tests/tidal_gym/dynamics/test_cuda_graph.py | tee "$RUNS/graph.txt"
    [ "${PIPESTATUS[0]}" -eq 0 ] && { [ "$DEVICE" = cpu ] || ! grep -q skipped "$RUNS/graph.txt"; }
}
step graph graph_test

# The speed table; the two sizes of `decoding` are num_envs and four times that.
step speed timeout 240 "$PYTHON" benchmarks/speed/speed.py --device "$DEVICE" --num_envs 4096 --repeats 7 --only decoding ppo growth

# Pretraining for 100 steps in bfloat16, saved as a bundle; the log names tokens a second.
"$PYTHON" -c 'import sys, pathlib
from benchmarks.speed.pretraining_contenders import write_text; write_text(pathlib.Path(sys.argv[1]))' "$RUNS/text.txt"
step pretrain timeout 120 "$PYTHON" -m tidal pretrain --config configs/pretrain/tidal-tiny.yaml --data.train "$RUNS/text.txt" \
    --data.tokenizer lm/bundled/tidal-tiny --data.cache_dir "$RUNS/cache" --training.max_steps 100 \
    --training.evaluate_every 100 --training.precision bfloat16 --output "$RUNS/pretrain"

# PPO on an environment that lives on the GPU: two updates, a checkpoint, a controller.
step train timeout 120 "$PYTHON" -m tidal train --env.device "$DEVICE" --total_steps 3200 --output "$RUNS/train"

# Training tokens a second, beside GPT-2 of equal size under the same Trainer.
step pretraining-speed timeout 120 "$PYTHON" benchmarks/speed/speed.py --device "$DEVICE" --only pretraining

cp benchmarks/results/speed/*"$DEVICE"*.json "$OUT" 2>/dev/null
echo "== $failed steps failed; logs and figures in $OUT"
exit "$failed"
