"""A disk that fills up (here: a limit on the size of files) while a tokenizer is written: one line and exit code 1."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

FULL = """
import resource, sys
from tidal.cli.main import main
resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))
sys.exit(main(sys.argv[1:]))
"""


def test_tokenizers_of_pretraining(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("A day of rain.\n<|endoftext|>\nThe cat looked at a bird.\n<|endoftext|>\n" * 99)
    words = ["pretrain", "--data.train", "text.txt", "--data.vocab_size", "300", "--output", "out"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-c", FULL, *words]
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 1 and "Error: File too large" in ended.stderr, ended.stderr
    assert "Traceback" not in ended.stderr and not (tmp_path / "out").exists()
