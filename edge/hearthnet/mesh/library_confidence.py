"""How sure the library may be that it holds an answer (M05).

A small model fitted by `tests/library/make_confidence.py`; its numbers ship as data with their provenance. For cards it
weighs how well the best card fits against how much the question resembles questions that such a library answers
(kernel regression over the fitting questions); for other documents the fit alone speaks. One half is where the fitting
run wanted the line between answering and refusing.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from hearthnet.mesh.library_seed import SeedVectors

if TYPE_CHECKING:
    from hearthnet.mesh.library_rank import Lexical, Ranked
    from hearthnet.mesh.library_vectors import Dense
    from hearthnet.ports import VectorIndex

MODEL_FILE: Final = "confidence.json"
QUESTIONS_FILE: Final = "questions.bin"
MOST_WORDS: Final = 16
RUNNER_UP: Final = 5  # the hit behind which nothing should be as good as the first

CARDS, DOCUMENTS, WORDS = "cards", "documents", "words"


class Weights(Struct, frozen=True):
    """One logistic model: probability = logistic(bias + sum of weight * feature)."""

    features: tuple[str, ...]
    weights: tuple[float, ...]
    bias: float


class ConfidenceModel(Struct, frozen=True):
    """What ships: the mean question of each language, the kernel, and one logistic model a kind of corpus."""

    provenance: str
    embedding_model: str
    means: dict[str, tuple[float, ...]]
    gamma: float
    kernel_weights: tuple[float, ...]  # by row of the questions file
    models: dict[str, Weights]


class Confidence:
    """The model in use; without its files every search by meaning is judged by words alone."""

    def __init__(
        self, model: ConfidenceModel | None, questions: SeedVectors, make_index: Callable[[int], VectorIndex]
    ) -> None:
        self._model = model
        self._questions = questions
        self._make_index = make_index
        self._index: VectorIndex | None = None

    def mean_question(self, embedding_model: str, language: str) -> tuple[float, ...] | None:
        """Embedding of the average question in a language (of all, if it is not known); None for another embedder."""
        if self._model is None or self._model.embedding_model != embedding_model:
            return None
        if language in self._model.means:
            return self._model.means[language]
        columns = zip(*self._model.means.values(), strict=True)
        return tuple(sum(column) / len(self._model.means) for column in columns)

    def likeness(self, embedding_model: str, vector: bytes, language: str) -> float:
        """How much a question resembles those that the library answers (above 0) or does not (below)."""
        model, mean = self._model, self.mean_question(embedding_model, language)
        if model is None or mean is None or len(vector) != 4 * len(mean) or not len(self._questions):
            return 0.0
        if self._index is None:
            self._index = self._make_index(len(mean))
            self._index.append(self._questions.rows())
        query = subtract(vector, mean, 1.0)
        near = self._index.scores(query, range(len(self._index)))
        return sum(
            weight * math.exp(-2 * model.gamma * (1 - cosine))
            for weight, cosine in zip(model.kernel_weights, near, strict=True)
        )

    def estimate(self, kind: str, features: dict[str, float]) -> float:
        """Probability that the best passages answer the question."""
        if self._model is None or kind not in self._model.models:
            return 0.0
        chosen = self._model.models[kind]
        value = chosen.bias + sum(
            weight * features[name] for name, weight in zip(chosen.features, chosen.weights, strict=True)
        )
        return 1 / (1 + math.exp(-max(-60.0, min(60.0, value))))


def features_of(dense: Dense | None, lexical: Lexical, ranked: list[Ranked]) -> dict[str, float]:
    """What the models look at, but for the likeness of the question."""
    best = ranked[0]
    near = dense.chunks.get(best.chunk) if dense else None
    return {
        "meaning": best.meaning,
        "words": best.words,
        "also": near.also if near else 0.0,
        "lead": best.score - ranked[min(1, len(ranked) - 1)].score,
        "lead_of_few": best.score - ranked[min(RUNNER_UP, len(ranked) - 1)].score,
        "asked_words": float(min(MOST_WORDS, len(lexical.rarity))),
        "rarest": max(lexical.rarity.values(), default=0.0),
    }


def subtract(vector: bytes, mean: tuple[float, ...], share: float) -> bytes:
    """A float32 vector less a share of the mean question, normalised."""
    floats = struct.unpack(f"<{len(mean)}f", vector)
    moved = [value - share * middle for value, middle in zip(floats, mean, strict=True)]
    norm = math.hypot(*moved) or 1.0
    return struct.pack(f"<{len(mean)}f", *[value / norm for value in moved])


def read_confidence(folder: Path, make_index: Callable[[int], VectorIndex]) -> Confidence:
    """The model that ships; raises BadRequest or msgspec.ValidationError when its files are damaged."""
    try:
        model = msgspec.json.decode((folder / MODEL_FILE).read_bytes(), type=ConfidenceModel)
        questions = SeedVectors((folder / QUESTIONS_FILE).read_bytes())
    except FileNotFoundError:
        return Confidence(None, SeedVectors(), make_index)
    return Confidence(model, questions, make_index)
