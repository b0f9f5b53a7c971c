"""Settings that must stand before torch or transformers are imported: few threads, no network, no display."""

import os
import signal
import tempfile

from hypothesis import settings

# Two workers share the processors; a tiny model gains nothing from more threads. The tests pass with any number.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["MKL_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"]
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["MPLBACKEND"] = "Agg"
# No GPU, unless one is named, as benchmarks/gpu.sh does.
os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("TIDAL_TEST_CUDA_DEVICES", "")
# What is printed does not depend on where.
os.environ["COLUMNS"], os.environ["LINES"] = "80", "25"
for name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "PYTHONIOENCODING"):
    os.environ.pop(name, None)

# Downloads and processed data sets belong to this run alone; the folder goes when the run ends.
_hub_cache = tempfile.TemporaryDirectory(prefix="tidal-gym-hub-")
os.environ["HF_HOME"] = _hub_cache.name

# A shell starts what runs in its background with Ctrl-C ignored, and programs that tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["tests.repeatable"]

# The same examples every time, and no deadline: a busy machine must not fail a test.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
