"""`python -m hearthnet.adapters.engines.fetch [NAME ...]`: fetch the default models for this installation (M04, M11).

Used by edge/bootstrap.py, which shows the progress. One JSON object a line: the fields of `Progress`, or at the end
`{"error": code, "detail": ..., "fix": ...}` with exit code 5 (disk, memory) or 1. `--to FOLDER` changes the target.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import msgspec

from hearthnet.adapters.model_catalogue import known_models
from hearthnet.adapters.model_package import add_known
from hearthnet.adapters.models_dir import ModelsDir, installation_models
from hearthnet.base.errors import CapacityExceeded, HearthNetError


async def fetch(models: ModelsDir, names: list[str]) -> int:
    """Fetch what is missing of these models and report each step; returns the exit code."""
    here = {model.name for model in models.installed()}
    try:
        for name in names:
            if name in here:
                continue
            async for step in add_known(models, name):
                _say(step)
    except HearthNetError as error:
        _say({"error": error.code, "detail": error.detail, "fix": error.fix})
        return 5 if isinstance(error, CapacityExceeded) else 1
    return 0


def _say(value: object) -> None:
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> int:
    """Read the arguments and fetch."""
    folder = installation_models()
    if arguments[:1] == ["--to"]:
        folder, arguments = Path(arguments[1]), arguments[2:]
    names = arguments or [model.name for model in known_models().values() if model.default]
    return asyncio.run(fetch(ModelsDir(folder), names))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
