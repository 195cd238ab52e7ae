"""Whether the library holds an answer at all: the last word before "not in my library" (M04, decision 22).

Beside how sure the search is, two nearnesses are weighed: of the question to the best sentences that were found, and to
what people ask elsewhere (`edge/library/limits.toml`). Their difference is what tells, for any question is near to
something. Both are taken in both languages of the cards, from the middle of each kind of text: questions are alike by
being questions. The numbers ship as data, fitted by `tests/library/fit_scope.py`.
"""

from __future__ import annotations

import asyncio
import logging
import math
import tomllib
from operator import mul
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from hearthnet.base.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from hearthnet.mesh.likeness import Likeness, Vector

log = logging.getLogger(__name__)

LIMITS_FILE: Final = "limits.toml"
MODEL_FILE: Final = "scope.json"
HELD_FROM: Final = 0.5  # probability from which an answer is given
BEST_FEW: Final = 3
TWIN: Final = {"de": "en", "en": "de"}
_SURE: Final = 1e-4


class Limit(Struct, frozen=True, forbid_unknown_fields=True):
    """A kind of question that no card answers, in phrases; `card` says in its own sentences what helps all the same."""

    id: str
    en: tuple[str, ...]
    de: tuple[str, ...]
    card: str = ""
    en_steps: tuple[str, ...] = ()
    de_steps: tuple[str, ...] = ()


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """The file of limits."""

    kind: tuple[Limit, ...] = ()

    def phrases(self, language: str) -> dict[str, Limit]:
        """Every phrase of a language with its kind."""
        return {phrase: kind for kind in self.kind for phrase in (kind.de if language == "de" else kind.en)}


class Middles(Struct, frozen=True):
    """The mean vector of each kind of text in a language."""

    question: tuple[float, ...]
    sentence: tuple[float, ...]
    limit: tuple[float, ...]


class ScopeModel(Struct, frozen=True):
    """What ships: one middle a kind of text, and a weight a sign, in the order of `Signs`."""

    provenance: str
    embedding_model: str
    middles: dict[str, Middles]
    weights: tuple[float, ...] = ()
    bias: float = 0.0


class Signs(Struct, frozen=True):
    """What is weighed: the search's logit, nearness to sentences and to limits, the same in the twin's language."""

    confidence: float
    near: float
    elsewhere: float
    twin_near: float
    twin_elsewhere: float
    limit: str  # the phrase nearest to the question


class Verdict(Struct, frozen=True):
    """How likely the library holds the answer, and what to quote from which card when it does not."""

    probability: float
    card: str = ""
    steps: tuple[str, ...] = ()

    @property
    def held(self) -> bool:
        """Whether to answer."""
        return self.probability >= HELD_FROM


class Gauge:
    """Measures the signs of questions by one model."""

    def __init__(self, model: ScopeModel, limits: Limits, likeness: Likeness) -> None:
        self.model = model
        self.limits = limits
        self._likeness = likeness
        self._moved: dict[str, dict[str, list[float]]] = {}  # language -> phrase -> seen from the middle

    async def measure(
        self, question: str, language: str, confidence: float, sentences: Sequence[str], twins: Sequence[str]
    ) -> Signs:
        """The signs of one question; raises Unavailable without an embedder."""
        twin = TWIN[language]
        own, other = self.model.middles[language], self.model.middles[twin]
        vectors = await self._likeness.vectors([question, *sentences, *twins])
        asked = _move(vectors[question], own.question)
        elsewhere = await self._elsewhere(asked, language)
        twin_elsewhere = await self._elsewhere(asked, twin)
        near = _few(_cosine(asked, _move(vectors[text], own.sentence)) for text in sentences)
        sure = min(max(confidence, _SURE), 1 - _SURE)
        return Signs(
            confidence=math.log(sure / (1 - sure)),
            near=near,
            elsewhere=_few(elsewhere.values()),
            twin_near=max((_cosine(asked, _move(vectors[text], other.sentence)) for text in twins), default=near),
            twin_elsewhere=max(twin_elsewhere.values()),
            limit=max(elsewhere, key=lambda phrase: elsewhere[phrase]),
        )

    async def _elsewhere(self, asked: Sequence[float], language: str) -> dict[str, float]:
        if language not in self._moved:
            middle = self.model.middles[language].limit
            found = await self._likeness.vectors(list(self.limits.phrases(language)))
            self._moved[language] = {phrase: _move(vector, middle) for phrase, vector in found.items()}
        return {phrase: _cosine(asked, moved) for phrase, moved in self._moved[language].items()}


class Scope:
    """Judges questions against what one library folder ships; without its model or an embedder the search decides."""

    def __init__(self, folder: Path, embedding_model: str, likeness: Likeness) -> None:
        self._folder = folder
        self._embedding_model = embedding_model
        self._likeness = likeness
        self._gauge: Gauge | None = None
        self._read = False

    async def judge(
        self, question: str, language: str, confidence: float, sentences: Sequence[str], twins: Sequence[str]
    ) -> Verdict:
        """The verdict on sentences of the handbook; `twins` are those of the same cards in the other language."""
        gauge = await self._open()
        if gauge is None or not sentences:
            return Verdict(confidence)
        try:
            signs = await gauge.measure(question, language, confidence, sentences, twins)
        except Unavailable:
            return Verdict(confidence)
        kind = gauge.limits.phrases(language)[signs.limit]
        steps = kind.de_steps if language == "de" else kind.en_steps
        return Verdict(weigh(gauge.model, signs), kind.card, steps)

    async def _open(self) -> Gauge | None:
        if not self._read:
            limits, model = await asyncio.to_thread(_read_folder, self._folder)
            if model is not None and model.embedding_model == self._embedding_model:
                self._gauge = Gauge(model, limits, self._likeness)
            self._read = True
        return self._gauge


def weigh(model: ScopeModel, signs: Signs) -> float:
    """The signs as one probability."""
    values = (signs.confidence, signs.near, signs.elsewhere, signs.twin_near, signs.twin_elsewhere)
    weighed = model.bias + sum(map(mul, model.weights, values))
    return 1 / (1 + math.exp(-max(-50.0, min(50.0, weighed))))


def read_limits(folder: Path) -> Limits:
    """The limits that ship with a library; none when the file is missing or damaged."""
    path = folder / LIMITS_FILE
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Limits)
    except FileNotFoundError:
        return Limits()
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        log.warning("%s: %s", path.name, error)
        return Limits()


def _read_folder(folder: Path) -> tuple[Limits, ScopeModel | None]:
    limits = read_limits(folder)
    if not limits.kind:
        return limits, None
    try:
        return limits, msgspec.json.decode((folder / MODEL_FILE).read_bytes(), type=ScopeModel)
    except FileNotFoundError:
        return limits, None
    except msgspec.MsgspecError as error:
        log.warning("%s: %s", MODEL_FILE, error)
        return limits, None


def _move(vector: Vector, middle: Sequence[float]) -> list[float]:
    """A vector seen from the middle of its kind, normalised."""
    moved = [value - mean for value, mean in zip(vector, middle, strict=True)]
    length = math.sqrt(sum(map(mul, moved, moved))) or 1.0
    return [value / length for value in moved]


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    return float(sum(map(mul, one, other)))


def _few(values: Iterable[float]) -> float:
    """The mean of the best few."""
    best = sorted(values, reverse=True)[:BEST_FEW]
    return sum(best) / len(best)
