"""Retrieval and refusal, measured through the product's own search (M05); `make bench-retrieval`.

1. Debian Reference: known-item search, query = section title, answer = its English text without title.
2. The handbook's question set (tests/library/questions.toml): right card among the first three.
3. Refusal by the search's confidence alone; the assistant's final answers are measured by bench_answers.py.
4. Time of a search beyond the query's embedding, over 10,000 chunks.

Odd-numbered items were used for tuning and fitting; figures that count are those of the even-numbered ones.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "edge"), str(ROOT / "tests")]

from bench.debian_reference import read_sections  # noqa: E402  paths first
from hearthnet.mesh.library_documents import chunks_of_pages  # noqa: E402
from hearthnet.mesh.library_embedding import half_floats  # noqa: E402
from hearthnet.mesh.library_index import NewDocument  # noqa: E402
from hearthnet.mesh.passages import QueryInput  # noqa: E402
from hearthnet.ports import Page  # noqa: E402
from library.workbench import MODEL, QueryVector, Question, Workbench, read_questions  # noqa: E402

CHUNKS = 10_000
LINE = 0.5  # confidence from which an answer is given


def ranks_line(name: str, ranks: list[int], bar: str) -> str:
    def share(top: int) -> float:
        return sum(0 < rank <= top for rank in ranks) / len(ranks)

    mrr = sum(1 / rank for rank in ranks if rank) / len(ranks)
    return f"| {name} | {len(ranks)} | {share(1):.3f} | {share(3):.3f} | {share(5):.3f} | {mrr:.3f} | {bar} |"


async def place_of(bench: Workbench, corpus: str, query: str, answers: set[str], *, by_card: bool) -> int:
    """Rank of the first right card or document; 0 = not found."""
    found = await bench.find(corpus, query, bench.embed_query(query))
    seen: list[str] = []
    for item in found.ranked:
        place = found.loaded.places[item.chunk]
        name = place.card_id if by_card else place.doc_cid
        if name not in seen:
            seen.append(name)
        if name in answers:
            return seen.index(name) + 1
    return 0


async def measure_debian(bench: Workbench) -> None:
    sections = read_sections()
    cids = await bench.add_texts("debian", [("", section.body) for section in sections])
    print(f"\n## Debian Reference, {len(sections)} sections\n")
    print("| query | n | R@1 | R@3 | R@5 | MRR | bar |\n|---|---|---|---|---|---|---|")
    for language, bar in (("en", "0.82"), ("de", "0.61")):
        for parity, name in ((0, "even"), (1, "odd")):
            ranks = []
            for number, (section, cid) in enumerate(zip(sections, cids, strict=True), 1):
                title = section.title if language == "en" else section.german_title
                same = section.title.lower() == section.german_title.lower()
                if number % 2 == parity and not (language == "de" and same):
                    ranks.append(await place_of(bench, "debian", title, {cid}, by_card=False))
            print(
                ranks_line(f"{language} title to en text, {name}", ranks, f"MRR {bar}" if parity == 0 else "(tuning)")
            )


async def measure_questions(bench: Workbench, questions: list[Question]) -> None:
    print("\n## Handbook, own question set\n")
    print("| questions | n | hit@1 | hit@3 | hit@5 | MRR | bar |\n|---|---|---|---|---|---|---|")
    for language in ("en", "de"):
        for parity, name in ((0, "even"), (1, "odd")):
            ranks = [
                await place_of(bench, "system", question.text, set(question.cards), by_card=True)
                for question in questions
                if question.answerable and question.language == language and question.number % 2 == parity
            ]
            print(ranks_line(f"{language} {name}", ranks, "hit@3 0.92" if parity == 0 else "(tuning)"))


async def measure_refusal(bench: Workbench, questions: list[Question], *, wrong: bool) -> None:
    print(f"\n## Refusal by confidence alone, line at {LINE}\n")
    print("| questions | of answerable refused | of unanswerable refused | bar |\n|---|---|---|---|")
    misses = []
    corpus = await bench.index.corpus("system")
    for language in ("en", "de"):
        for parity, name in ((0, "even"), (1, "odd")):
            refused: dict[bool, list[bool]] = {True: [], False: []}
            for question in questions:
                if question.language == language and question.number % 2 == parity:
                    vector = bench.embed_query(question.text)
                    reply = await bench.search.query(
                        corpus, QueryInput(question.text), QueryVector(len(vector) // 4, vector)
                    )
                    sure = reply.meta.confidence
                    refused[question.answerable].append(sure < LINE)
                    if (sure < LINE) is question.answerable and parity == 0:
                        misses.append(f"{sure:.2f} {language} {question.text} -> {reply.chunks[0].metadata.card_id}")
            shares = [
                f"{sum(refused[kind])}/{len(refused[kind])} = {statistics.fmean(refused[kind]):.3f}"
                for kind in (True, False)
            ]
            print(
                f"| {language} {name} | {shares[0]} | {shares[1]} | {'<= 0.05, >= 0.90' if parity == 0 else '(fitting)'} |"
            )
    if wrong:
        print("\nWrong among the even ones:\n  " + "\n  ".join(misses))


async def measure_speed(bench: Workbench) -> None:
    """Chunks of mixed real sentences with random unit vectors near real ones; queries are the German titles."""
    rng = random.Random(1)
    sections = read_sections()
    bodies = [section.body for section in sections]
    known = await bench.index.make_corpus("many", MODEL)
    near = [bench.embed_query(section.title) for section in sections[:64]]
    made = 0
    while made < CHUNKS:
        text = "\n\n".join(rng.sample(bodies, 40))
        document = NewDocument(f"many-{made}", "", "en", "text/plain", len(text), {})
        chunks = list(chunks_of_pages([Page(0, text)]))
        key = await bench.index.begin(known, document, 0.0)
        await bench.index.write(known, key, document, chunks)
        made += len(chunks)
    while units := await bench.index.pending(known, 512):
        await bench.index.store_vectors([(unit.unit, half_floats(rng.choice(near))) for unit in units])
    times, parts = [], []
    for section in sections[:120]:
        vector = bench.embed_query(section.german_title if len(times) % 2 else section.title)
        began = time.perf_counter()
        reply = await bench.search.query(known, QueryInput(section.title), QueryVector(len(vector) // 4, vector))
        times.append((time.perf_counter() - began) * 1000)
        parts.append(len(reply.chunks))
    loaded = (await bench.find("many", "query", bench.embed_query("query"))).loaded
    times = sorted(times[5:])
    print(f"\n## Search beyond the embedding of the query\n\n{made} chunks, {len(loaded)} vectors:"
          f" median {statistics.median(times):.1f} ms, 95 % below {times[len(times) * 95 // 100]:.1f} ms (bar: 5 ms)")  # fmt: skip


async def main() -> None:
    questions = [question for question in read_questions() if question.number]
    with tempfile.TemporaryDirectory() as home:
        bench = await Workbench.open(Path(home))
        await measure_questions(bench, questions)
        await measure_refusal(bench, questions, wrong="--wrong" in sys.argv)
        if "--handbook" not in sys.argv:
            await measure_debian(bench)
            await measure_speed(bench)
        await bench.close()


if __name__ == "__main__":
    asyncio.run(main())
