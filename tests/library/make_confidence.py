"""Fit how sure the library may be: `edge/library/confidence.json` and `questions.bin` (M05).

    .venv/bin/python tests/library/make_confidence.py

Fitted on the odd-numbered items of questions.toml and on questions_fitting.toml, never on the even-numbered ones;
`make bench-retrieval` measures those. Every search runs through the product's own code. Printed are cross-validated
figures of the fitting questions. The line between answering and refusing is put at one half.
"""

from __future__ import annotations

import asyncio
import math
import sys
import tempfile
from pathlib import Path

import msgspec
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "edge"), str(ROOT / "tests")]

from hearthnet.base.config import EmbeddingSection  # noqa: E402  the package is not installed here
from hearthnet.mesh.cards import shipped_library  # noqa: E402
from hearthnet.mesh.library_confidence import (  # noqa: E402
    CARDS,
    DOCUMENTS,
    MODEL_FILE,
    QUESTIONS_FILE,
    WORDS,
    Confidence,
    ConfidenceModel,
    Weights,
)
from hearthnet.mesh.library_seed import SeedVectors, seed_key, write_seeds  # noqa: E402
from hearthnet.mesh.library_words import guess_language  # noqa: E402
from library.workbench import InProcess, Workbench, read_questions  # noqa: E402

MODEL = EmbeddingSection().model
GAMMA, RIDGE = 0.5, 0.1
FOLDS = 5
FALSE_REFUSALS = {CARDS: 0.035, DOCUMENTS: 0.1, WORDS: 0.1}  # of the answerable, in the worse language
FEATURES = {
    CARDS: ("meaning", "words", "also", "lead", "lead_of_few", "asked_words", "likeness"),
    DOCUMENTS: ("meaning", "words", "lead", "lead_of_few", "asked_words"),
    WORDS: ("words", "lead", "lead_of_few", "asked_words", "rarest"),
}


def fit_logistic(x, y, ridge=1.0):
    """Weights and bias by Newton's method."""
    x = np.c_[x, np.ones(len(x))]
    penalty = np.r_[np.full(x.shape[1] - 1, ridge), 1e-6]
    b = np.zeros(x.shape[1])
    for _ in range(100):
        p = 1 / (1 + np.exp(-x @ b))
        step = np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x + np.diag(penalty), x.T @ (p - y) + penalty * b)
        b -= step
        if np.abs(step).max() < 1e-9:
            break
    return b


def kernel(a, b):
    return np.exp(-2 * GAMMA * (1 - a @ b.T))


def fit_kernel(rows, y):
    """Weights of kernel ridge regression on answerable (+1) and not (-1)."""
    target = 2 * y - 1
    return np.linalg.solve(kernel(rows, rows) + RIDGE * np.eye(len(rows)), target - target.mean())


def cross_fit(folds, fit, predict, *data):
    out = np.zeros(len(folds))
    for fold in range(FOLDS):
        rest = folds != fold
        out[~rest] = predict(fit(*(part[rest] for part in data)), rest)
    return out


def fit_model(name, rows, y, language, folds, measured):
    """A logistic model of these features, its line at one half; prints cross-validated figures."""
    x = np.array([[row[feature] for feature in FEATURES[name]] for row in rows])
    middle, spread = x.mean(0), x.std(0) + 1e-9
    z = (x - middle) / spread
    value = cross_fit(folds, fit_logistic, lambda b, rest: np.c_[z[~rest], np.ones((~rest).sum())] @ b, z, y)
    line = min(np.quantile(value[(y == 1) & (language == one)], FALSE_REFUSALS[name]) for one in ("en", "de"))
    for one in ("en", "de"):
        held, not_held = (value[(y == k) & (language == one)] for k in (1, 0))
        auc = np.mean(held[:, None] > not_held[None])
        print(f"  {name:9} {one}: AUC {auc:.3f}, refused of answerable {np.mean(held < line):.3f},"
              f" of unanswerable {np.mean(not_held < line):.3f} (n = {len(held)} + {len(not_held)})")  # fmt: skip
        odd = [value[(y == k) & (language == one) & measured] for k in (1, 0)]
        print(f"            odd-numbered only: {np.mean(odd[0] < line):.3f} and {np.mean(odd[1] < line):.3f}")
    b = fit_logistic(z, y)
    weights = b[:-1] / spread
    bias = b[-1] - (weights * middle).sum() - line
    return Weights(FEATURES[name], tuple(round(float(w), 5) for w in weights), round(float(bias), 5))


async def features_by_fold(engine, questions, vectors, folds, means):
    """Features of every question, searched in a library that does not know the questions of its fold."""
    found = {kind: [{}] * len(questions) for kind in FEATURES}
    kept = {one: tuple(float(v) for v in mean) for one, mean in means.items()}
    for fold in range(FOLDS):
        with tempfile.TemporaryDirectory() as home:
            bench = await Workbench.open(Path(home), lambda group, fold=fold: group % FOLDS != fold, engine)
            bench.use(Confidence(ConfidenceModel("", MODEL, kept, GAMMA, (), {}), SeedVectors(), bench.make_index))
            await bench.add_documents()
            for i in np.flatnonzero(folds == fold):
                text = questions[i].text
                found[CARDS][i] = await bench.features("system", text, vectors[i])
                found[DOCUMENTS][i] = await bench.features("documents", text, vectors[i])
                found[WORDS][i] = await bench.features("system", text, None)
            await bench.close()
    return found


async def main() -> None:
    questions = [question for question in read_questions() if question.for_fitting]
    y = np.array([float(question.answerable) for question in questions])
    language = np.array([question.language for question in questions])
    folds = np.array([question.group % FOLDS for question in questions])
    engine = InProcess()
    vectors = [engine.embed_now([question.text], query=True).data for question in questions]
    floats = np.array([np.frombuffer(vector, "<f4") for vector in vectors])
    means = {one: np.round(floats[language == one].mean(0), 6) for one in ("en", "de")}
    both = (means["en"] + means["de"]) / 2
    rows = floats - np.array([means.get(guess_language(question.text), both) for question in questions])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    likeness = cross_fit(
        folds, lambda a, b: (a, fit_kernel(a, b)), lambda w, rest: kernel(rows[~rest], w[0]) @ w[1], rows, y
    )
    found = await features_by_fold(engine, questions, vectors, folds, means)
    for row, value in zip(found[CARDS], likeness, strict=True):
        row["likeness"] = float(value)
    measured = np.array([question.number > 0 for question in questions])
    models = {kind: fit_model(kind, found[kind], y, language, folds, measured) for kind in FEATURES}
    kept = {one: tuple(float(v) for v in mean) for one, mean in means.items()}
    named = {question.text: row.astype("<f4").tobytes() for question, row in zip(questions, rows, strict=True)}
    order = sorted(range(len(questions)), key=lambda i: seed_key(MODEL, questions[i].text))
    weights = fit_kernel(rows, y)
    provenance = (
        f"tests/library/make_confidence.py on {len(questions)} questions ({int(y.sum())} answerable): odd-numbered items"
        " of questions.toml and all of questions_fitting.toml; one half = the line"
    )
    model = ConfidenceModel(provenance, MODEL, kept, GAMMA, tuple(round(float(weights[i]), 4) for i in order), models)
    folder = shipped_library()
    (folder / QUESTIONS_FILE).write_bytes(write_seeds(MODEL, named))
    (folder / MODEL_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(model), indent=0) + b"\n")
    print(provenance, math.prod(rows.shape))


if __name__ == "__main__":
    asyncio.run(main())
