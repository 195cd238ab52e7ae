"""Make `edge/library/german-stems.txt`: stems of the German cards, by which long words are cut into parts (M05).

    .venv/bin/python tests/library/make_stems.py

A node makes its word indexes anew when the file changes, so run it only when the cards have many new words.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "edge"))

from hearthnet.mesh.cards import shipped_library  # noqa: E402  the package is not installed here
from hearthnet.mesh.handbook import STEMS_FILE, read_cards  # noqa: E402
from hearthnet.mesh.library_words import is_common, split_words, stem  # noqa: E402

LEAST_CHARS = 4


def stems_of(folder: Path) -> list[str]:
    """Stems of at least four letters, in order."""
    found = set()
    for card in read_cards(folder):
        if card.head.lang == "de":
            for word in split_words(" ".join([card.head.title, *card.head.also, card.body])):
                if word.isalpha() and len(word) >= LEAST_CHARS and not is_common(word):
                    found.add(stem(word, "de"))
    return sorted(one for one in found if len(one) >= LEAST_CHARS)


def main() -> None:
    """Write the file."""
    stems = stems_of(shipped_library())
    (shipped_library() / STEMS_FILE).write_text("\n".join(stems) + "\n", encoding="utf-8")
    print(f"{STEMS_FILE}: {len(stems)} stems")


if __name__ == "__main__":
    main()
