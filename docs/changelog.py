"""Joins changelog.d/*.md into CHANGELOG.md: `python docs/changelog.py VERSION DATE`."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
KINDS = ("added", "changed", "fixed", "removed")


def main() -> int:
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    version, date = sys.argv[1:]
    lines = [f"\n## {version} ({date})\n"]
    fragments = sorted(path for path in (ROOT / "changelog.d").glob("*.md") if path.name != "README.md")
    for kind in KINDS:
        chosen = [path for path in fragments if path.name.endswith(f".{kind}.md")]
        if chosen:
            lines.append(f"\n### {kind.capitalize()}\n\n")
            lines.extend(f"- {path.read_text(encoding='utf-8').strip()}\n" for path in chosen)
    log = ROOT / "CHANGELOG.md"
    head, marker, rest = log.read_text(encoding="utf-8").partition("\n## ")
    log.write_text(head + "".join(lines) + marker + rest, encoding="utf-8")
    for path in fragments:
        path.unlink()
    print(f"{len(fragments)} changes joined as {version}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
