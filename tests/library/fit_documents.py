"""Fit whether own documents answer a question: `edge/library/documents.json` (M04).

    .venv/bin/python tests/library/fit_documents.py

Fitted on the odd-numbered items of household.toml, over the documents of household/. The line lies where `LOST` of the
odd-numbered answerable questions are refused.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

import msgspec
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "edge"), str(ROOT / "tests")]

from hearthnet.adapters.readers.process import ReaderProcess  # noqa: E402  the package is not installed here
from hearthnet.base.trace import Span  # noqa: E402
from hearthnet.base.types import TraceID  # noqa: E402
from hearthnet.mesh.answers import Message  # noqa: E402
from hearthnet.mesh.assistant import DOCUMENTS_READ  # noqa: E402
from hearthnet.mesh.capability import Call  # noqa: E402
from hearthnet.mesh.cards import shipped_library  # noqa: E402
from hearthnet.mesh.grounding import Retrieval, read_question  # noqa: E402
from hearthnet.mesh.library_seed import SeedVectors  # noqa: E402
from hearthnet.mesh.likeness import Likeness  # noqa: E402
from hearthnet.mesh.own_documents import MODEL_FILE, DocumentModel, OwnDocuments, signs_of  # noqa: E402
from library.answer_world import AnswerWorld  # noqa: E402
from library.household import read_household, upload  # noqa: E402
from library.make_confidence import MODEL, fit_logistic  # noqa: E402
from library.workbench import InProcess  # noqa: E402

LOST = 0.15
RIDGE = 2.0


class Embedder(InProcess):
    """No language model."""

    def models(self):
        return []


async def measure(items):
    """The signs of every question."""
    with tempfile.TemporaryDirectory() as home:
        engines = Embedder()
        world = AnswerWorld(Path(home), engines, reader=ReaderProcess())
        await world.start()
        await upload(world)
        call = Call(world.caller("the household"), TraceID("fit"), 1e18, Span("fit", 0.0))
        retrieval = Retrieval(world.bus, world.clock)
        own = OwnDocuments(Path(home), MODEL, Likeness(engines, MODEL, SeedVectors()))
        rows = []
        for _, _, text, _, _ in items:
            question = read_question([Message("user", text)])
            passages = (await retrieval.find(call, question)).documents[:DOCUMENTS_READ]
            signs = signs_of(text, passages, await own.rank(text, passages))
            rows.append((signs.near, signs.words, signs.held))
        await world.close()
    return np.array(rows)


async def main() -> None:
    """Fit on the odd items, write, print both halves."""
    items = read_household()
    rows = await measure(items)
    y = np.array([float(bool(item[3])) for item in items])
    odd = np.array([item[1] % 2 == 1 for item in items])
    middle, spread = rows[odd].mean(0), rows[odd].std(0)
    b = fit_logistic((rows[odd] - middle) / spread, y[odd], RIDGE)
    weights = b[:-1] / spread
    value = rows @ weights + b[-1] - (weights * middle).sum()
    line = float(np.quantile(value[(y == 1) & odd], LOST))
    bias = b[-1] - (weights * middle).sum() - line
    provenance = f"tests/library/fit_documents.py on {int(odd.sum())} questions: odd-numbered items of household.toml"
    model = DocumentModel(provenance, MODEL, tuple(round(float(w), 4) for w in weights), round(float(bias), 4))
    (shipped_library() / MODEL_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(model), indent=0) + b"\n")
    print(model)
    for name, half in (("odd", odd), ("even", ~odd)):
        held, other = (value[(y == k) & half] for k in (1, 0))
        auc = np.mean(held[:, None] > other[None])
        print(f"  {name}: AUC {auc:.3f}, lost {np.mean(held < line):.3f}, refused {np.mean(other < line):.3f}")
        for lost in (0.05, 0.15, 0.2):
            at = np.quantile(value[(y == 1) & odd], lost)
            print(f"     at {lost}: lost {np.mean(held < at):.3f}, refused {np.mean(other < at):.3f}")


if __name__ == "__main__":
    asyncio.run(main())
