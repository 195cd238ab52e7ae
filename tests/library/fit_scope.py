"""Fit whether the library holds an answer at all: `edge/library/scope.json` (M04).

    .venv/bin/python tests/library/fit_scope.py

Run it after make_confidence.py and make_likeness.py. Fitted on the odd-numbered items of questions.toml and on
questions_fitting.toml. The search's own confidence is taken as it is for a question that it does not know
(cross-validation), for what it knows by heart does not count. The line lies where `LOST` of the odd-numbered answerable
questions are refused, in the worse language.
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

from hearthnet.mesh import scope  # noqa: E402  the package is not installed here
from hearthnet.mesh.assistant import CARDS_READ  # noqa: E402
from hearthnet.mesh.cards import shipped_library  # noqa: E402
from hearthnet.mesh.evidence import statements_of  # noqa: E402
from hearthnet.mesh.handbook import read_cards  # noqa: E402
from hearthnet.mesh.library_confidence import CARDS, Confidence, ConfidenceModel  # noqa: E402
from hearthnet.mesh.library_passages import QueryVector  # noqa: E402
from hearthnet.mesh.library_seed import SeedVectors  # noqa: E402
from hearthnet.mesh.likeness import Likeness, read_likeness  # noqa: E402
from hearthnet.mesh.passages import QueryInput  # noqa: E402
from hearthnet.wire.chunk import split_sentences  # noqa: E402
from library.make_confidence import FEATURES, FOLDS, GAMMA, MODEL, cross_fit, fit_kernel, fit_logistic, kernel  # noqa: E402
from library.workbench import InProcess, Workbench, read_questions  # noqa: E402

LOST = 0.03
RIDGE = 100.0
FOLDER = shipped_library()
SENTENCES = {
    (card.head.id, card.head.lang): [card.body[span.start : span.end] for span in split_sentences(card.body)]
    for card in read_cards(FOLDER)
}


async def middles_of(likeness, limits, floats, language):
    """The mean vector of every kind of text, by language."""
    found = {}
    for one in ("en", "de"):
        texts = [text for (_, card_language), own in SENTENCES.items() if card_language == one for text in own]
        kinds = {"sentence": texts, "limit": list(limits.phrases(one))}
        means = {name: np.array(list((await likeness.vectors(kind)).values())).mean(0) for name, kind in kinds.items()}
        means["question"] = floats[language == one].mean(0)
        found[one] = scope.Middles(**{name: tuple(round(float(v), 5) for v in mean) for name, mean in means.items()})
    return found


async def measure(bench, gauge, question, vector):
    """The search's features, and the signs beside its confidence."""
    known = await bench.index.corpus("system")
    query = QueryInput(question.text, k=CARDS_READ)
    found = await bench.search.query(known, query, QueryVector(len(vector) // 4, vector))
    twins = [
        text
        for passage in found.chunks
        for text in SENTENCES[passage.metadata.card_id, scope.TWIN[passage.metadata.language]]
    ]
    sentences = [item.text for item in statements_of(found.chunks)]
    signs = await gauge.measure(question.text, question.language, 0.5, sentences, twins)
    features = await bench.features("system", question.text, vector)
    return features, (signs.near, signs.elsewhere, signs.twin_near, signs.twin_elsewhere)


async def measure_by_fold(engine, gauge, questions, vectors, folds, means):
    """Everything about each question, from a library that does not know the questions of its fold."""
    features, signs = [{}] * len(questions), np.zeros((len(questions), 4))
    kept = {one: tuple(float(v) for v in mean) for one, mean in means.items()}
    for fold in range(FOLDS):
        with tempfile.TemporaryDirectory() as home:
            bench = await Workbench.open(Path(home), lambda group, fold=fold: group % FOLDS != fold, engine)
            bench.use(Confidence(ConfidenceModel("", MODEL, kept, GAMMA, (), {}), SeedVectors(), bench.make_index))
            for i in np.flatnonzero(folds == fold):
                features[i], signs[i] = await measure(bench, gauge, questions[i], vectors[i])
            await bench.close()
    return features, signs


def predict(b, z, rest):
    return np.c_[z[~rest], np.ones((~rest).sum())] @ b


def unlearned_confidence(features, rows, y, folds):
    """The search's own logit for each question, fitted without it, on the scale that ships."""
    likeness = cross_fit(
        folds, lambda a, b: (a, fit_kernel(a, b)), lambda w, rest: kernel(rows[~rest], w[0]) @ w[1], rows, y
    )
    for row, value in zip(features, likeness, strict=True):
        row["likeness"] = float(value)
    shipped = msgspec.json.decode((FOLDER / "confidence.json").read_bytes(), type=ConfidenceModel).models[CARDS]
    x = np.array([[row[feature] for feature in shipped.features] for row in features])
    return np.clip(x @ np.array(shipped.weights) + shipped.bias, -9.2, 9.2)


async def main() -> None:
    """Fit, write, print."""
    assert FEATURES[CARDS]
    questions = [question for question in read_questions() if question.for_fitting]
    y = np.array([float(question.answerable) for question in questions])
    language = np.array([question.language for question in questions])
    folds = np.array([question.group % FOLDS for question in questions])
    odd = np.array([question.number > 0 for question in questions])
    engine = InProcess()
    vectors = [engine.embed_now([question.text], query=True).data for question in questions]
    floats = np.array([np.frombuffer(vector, "<f4") for vector in vectors])
    means = {one: np.round(floats[language == one].mean(0), 6) for one in ("en", "de")}
    rows = floats - np.array([means[one] for one in language])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)

    likeness, limits = Likeness(engine, MODEL, read_likeness(FOLDER)), scope.read_limits(FOLDER)
    middles = await middles_of(likeness, limits, floats, language)
    gauge = scope.Gauge(scope.ScopeModel("", MODEL, middles), limits, likeness)
    features, pairs = await measure_by_fold(engine, gauge, questions, vectors, folds, means)
    signs = np.c_[unlearned_confidence(features, rows, y, folds), pairs]

    middle, spread = signs.mean(0), signs.std(0)
    z = (signs - middle) / spread
    fit = lambda a, b: fit_logistic(a, b, RIDGE)  # noqa: E731
    value = cross_fit(folds, fit, lambda b, rest: predict(b, z, rest), z, y)
    line = min(np.quantile(value[(y == 1) & (language == one) & odd], LOST) for one in ("en", "de"))
    b = fit_logistic(z, y, RIDGE)
    weights = b[:-1] / spread
    bias = b[-1] - (weights * middle).sum() - line
    provenance = (
        f"tests/library/fit_scope.py on {len(questions)} questions ({int(y.sum())} answerable): odd-numbered items of"
        " questions.toml and all of questions_fitting.toml; one half = the line"
    )
    model = scope.ScopeModel(
        provenance, MODEL, middles, tuple(round(float(w), 4) for w in weights), round(float(bias), 4)
    )
    (FOLDER / scope.MODEL_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(model), indent=0) + b"\n")
    print(provenance, model.weights, model.bias)
    for one in ("en", "de"):
        for name, chosen in (("all", language == one), ("odd", (language == one) & odd)):
            held, other = (value[(y == k) & chosen] for k in (1, 0))
            auc = np.mean(held[:, None] > other[None])
            print(
                f"  {one} {name}: AUC {auc:.3f}, lost {np.mean(held < line):.3f}, refused {np.mean(other < line):.3f}"
            )


if __name__ == "__main__":
    asyncio.run(main())
