"""Coverage-guided fuzzing of every decoder with atheris: `python tests/fuzz/fuzz_decoders.py -max_total_time=60`.

The first byte chooses the decoder. Findings are written as `crash-*` into the working directory; pass such a file as the
only argument to run it again. Options are libFuzzer's.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "edge"), str(ROOT / "tests")]

try:
    import atheris
except ModuleNotFoundError:
    sys.exit("atheris is not installed; it has wheels for Linux on x86_64: .venv/bin/pip install atheris")

with atheris.instrument_imports(include=["hearthnet"]):
    from fuzz.decoders import DECODERS, outcome

TABLE = list(DECODERS.values())


def run_one(data: bytes) -> None:
    """Feed one input; an exception that is not ours ends the run with a crash file."""
    if data:
        outcome(TABLE[data[0] % len(TABLE)], data[1:])


def write_seeds(folder: Path) -> None:
    """The samples of the table, as a corpus to start from."""
    for number, decoder in enumerate(TABLE):
        for at, sample in enumerate(decoder.samples):
            (folder / f"{number}-{at}").write_bytes(bytes([number]) + sample)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as corpus:
        arguments = sys.argv
        if not any(Path(argument).exists() for argument in sys.argv[1:]):
            write_seeds(Path(corpus))
            arguments = [*sys.argv, "-max_len=4096", corpus]
        atheris.Setup(arguments, run_one)
        atheris.Fuzz()
