"""Words of German and English text as the word index knows them (M05): folded, stemmed, guessed at (pure functions)."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final

from blake3 import blake3

_VERSION: Final = 2  # raise it when what `index_words` returns changes: word indexes are rebuilt then

_COMPOUND_CHARS: Final = 7  # shorter words are no compounds
_PART_CHARS: Final = 4
_SEPARABLE: Final = ("auf", "aus", "vor", "ein", "weg", "los", "ab", "an", "zu", "um")  # auspumpen, abkochen
_WORD = re.compile(r"[^\W_]+(?:[.,]\d+)?")
_FOLD: Final = str.maketrans({"ä": "a", "ö": "o", "ü": "u", "ß": "ss", "é": "e", "è": "e", "á": "a", "à": "a"})
_STOP_EN: Final = frozenset(
    """a about after all also am an and any are as at be been but by can could did do does for from get got had has
    have he her him his how i if in into is it its just me my no not now of off on or our out she should so some than
    that the their them then there they this to too up us was we were what when where which while who why will with
    would you your im its dont doesnt cant wont whats r u""".split()  # noqa: SIM905  a list of words
)
_STOP_DE: Final = frozenset(
    """aber alle als am an auch auf aus bei beim bin bis bitte da damit dann das dass dem den der des die dir doch du
    durch ein eine einem einen einer es euch fur gibt hab habe haben hat ich ihm ihn ihr im in ist ja jetzt kann kein
    keine man mein meine meinem meinen meiner mich mir mit muss nach nicht nix noch nur ob oder ohne schon sein seine
    sich sie sind so soll sollen um und uns unser unsere vom von vor war was weil wenn wer werden wie wieder wir wird wo
    zu zum zur ne nen darf geht mal mehr viel wieviel wohin welche welcher welches was""".split()  # noqa: SIM905
)
_GERMAN_SIGNS = re.compile(
    r"[äöüß]|sch|ung\b|keit\b|heit\b|lich\b|chen\b|cht|pf|tz\b|\bge\w+t\b|\bver|\bzer", re.IGNORECASE
)
_ENGLISH_SIGNS = re.compile(r"th|ing\b|ed\b|'s\b|'t\b|ough|wh|ea|oo|ly\b|sh|y\b|ck\b", re.IGNORECASE)


def split_words(text: str) -> list[str]:
    """Words and numbers, lower case, umlauts folded."""
    return [word.translate(_FOLD) for word in _WORD.findall(text.lower())]


def is_common(word: str) -> bool:
    """Whether a folded word says nothing about a topic."""
    return word in _STOP_EN or word in _STOP_DE


def stem(word: str, language: str) -> str:
    """Cut the ending off a folded word, lightly; German rules for every language but English."""
    if len(word) <= 3 or word[0].isdigit():
        return word
    return _stem_english(word) if language == "en" else _stem_german(word)


class WordRules:
    """How text becomes words of the index. `known` are German stems by which long words are cut into parts.

    German writes "Kellerpumpe" where a question says "Pumpe im Keller": the longest known beginning and end of a long
    word are indexed beside it.
    """

    def __init__(self, known: frozenset[str] = frozenset()) -> None:
        self._known = known
        digest = blake3("\n".join([str(_VERSION), *sorted(known)]).encode()).digest()
        self.version = int.from_bytes(digest[:4], "big")  # indexes made by other rules are made anew

    def index_words(self, text: str, language: str) -> str:
        """The text as the word index stores it."""
        found = []
        for word in split_words(text):
            found.append(stem(word, language))
            if language != "en":
                found += self.parts(word)
        return " ".join(found)

    def query_words(self, text: str) -> dict[str, tuple[str, ...]]:
        """Telling words of a query, each with the stems to find it by; common words if there are no others."""
        found = dict.fromkeys(split_words(text))
        telling = [word for word in found if not is_common(word) and len(word) > 1] or list(found)
        wanted = {word: tuple(dict.fromkeys((stem(word, "en"), stem(word, "de")))) for word in telling}
        for word in telling:
            wanted |= {f"{word}/{part}": (part,) for part in self.parts(word)}
        return wanted

    def query_pairs(self, text: str) -> list[tuple[str, str]]:
        """Stems of telling words that stand next to each other in a query, by the rules of each language."""
        near = [
            (stem(one, language), stem(two, language))
            for one, two in pairwise(split_words(text))
            if not is_common(one) and not is_common(two)
            for language in ("en", "de")
        ]
        return list(dict.fromkeys(near))

    def parts(self, word: str) -> list[str]:
        """Known stems with which a long German word begins and ends."""
        if len(word) < _COMPOUND_CHARS or not word.isalpha():
            return []
        whole = stem(word, "de")
        first = next((len(start) for start in _SEPARABLE if word.startswith(start)), _PART_CHARS)
        tail = self._known_part([(word[cut:], word[:cut]) for cut in range(first, len(word) - _PART_CHARS + 1)])
        head = self._known_part([(word[:-cut], word[-cut:]) for cut in range(_PART_CHARS, len(word) - _PART_CHARS + 1)])
        return [part for part in dict.fromkeys((tail, head)) if part and part != whole]

    def _known_part(self, cuts: list[tuple[str, str]]) -> str:
        """Stem of the longest known part; four letters count only beside another known part ("Zung", "Verletzung")."""
        for part, rest in cuts:
            found = stem(part, "de")
            if found in self._known and (len(part) > _PART_CHARS or stem(rest, "de") in self._known):
                return found
        return ""


def guess_language(text: str, default: str = "") -> str:
    """`de` or `en` by common words, then by letters; `default` when nothing tells."""
    found = split_words(text)
    german = sum(word in _STOP_DE for word in found)
    english = sum(word in _STOP_EN for word in found)
    german, english = 2 * german, 2 * english
    if abs(german - english) < 4:
        german += len(_GERMAN_SIGNS.findall(text))
        english += len(_ENGLISH_SIGNS.findall(text))
    if german == english:
        return default
    return "de" if german > english else "en"


def _stem_english(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        word = word[:-3] + "y"
    elif word.endswith("es") and word[-3] in "sxzh":
        word = word[:-2]
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending in ("ing", "ed"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            if word[-1] == word[-2] and word[-1] not in "lsz":
                word = word[:-1]
            break
    return word.rstrip("e") if len(word) > 3 else word


def _stem_german(word: str) -> str:
    for ending in ("ationen", "ation", "ierungen", "ierung"):
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            return word[: -len(ending)]
    for ending in ("ern", "em", "en", "er", "es", "e", "s", "n"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            break
    for ending in ("ier", "ung", "heit", "keit", "lich", "isch", "ig", "t", "st", "d"):
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            word = word[: -len(ending)]
            break
    return word[2:] if word.startswith("ge") and len(word) >= 7 else word
