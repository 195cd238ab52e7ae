"""A library with a small handbook over fakes; tests ask, fill, restart and damage it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

from hearthnet.adapters.blobs_fake import FakeBlobs
from hearthnet.adapters.clock_fake import FakeClock
from hearthnet.adapters.engines.fake import FakeEngines
from hearthnet.adapters.readers.fake import FakeReader
from hearthnet.adapters.store_fake import FakeStore
from hearthnet.adapters.vectors_fake import FakeVectors
from hearthnet.base.config import Config, EmbeddingSection, RagSection
from hearthnet.base.trace import Span
from hearthnet.base.types import TraceID, TrustLevel
from hearthnet.capabilities.rag import CorpusParams, IngestInput, Library, Nothing
from hearthnet.mesh.capability import Call, Caller, NoParams
from hearthnet.mesh.library_catalogue import DocumentInput
from hearthnet.mesh.library_index import NewDocument
from hearthnet.mesh.library_schema import MIGRATIONS
from hearthnet.mesh.passages import QueryInput
from hearthnet.mesh.services import Services
from hearthnet.mesh.supervisor import Supervisor

CARDS = (
    ("T12", "en", "Generators", "Run a generator only outdoors, 6 m from windows. Never refuel a hot generator."),
    ("T12", "de", "Notstromaggregat", "Betreib ein Aggregat nur draußen. Tanke ein heißes Aggregat nie nach."),
    ("T16", "en", "Boiling water", "Boil water with big bubbles for 1 minute. Let boiled water cool by itself."),
    ("T16", "de", "Wasser abkochen", "Koch Wasser 1 Minute sprudelnd. Lass abgekochtes Wasser von selbst abkühlen."),
    ("T70", "en", "Burns", "Cool a small burn with water for 10 minutes. Never put butter on a burn."),
    ("T70", "de", "Verbrennung", "Kühl eine kleine Verbrennung 10 Minuten mit Wasser. Streich nie Butter darauf."),
)
OWN = Call(Caller(None, TrustLevel.SELF), TraceID("t"), 0.0, Span("test", 0.0))


def caller(trust: TrustLevel) -> Call:
    return Call(Caller(None, trust), TraceID("t"), 0.0, Span("test", 0.0))


class _Events:
    """Only `append`; keeps what was told."""

    def __init__(self):
        self.history = []

    async def append(self, data):
        self.history.append(data)
        return SimpleNamespace(event=SimpleNamespace(event_id=f"event-{len(self.history)}"))


class _Reader(FakeReader):
    refusal = None
    gate = None

    async def read(self, content, media_type=""):
        if self.gate:
            await self.gate.wait()
        reading = await super().read(content, media_type)
        if self.refusal:
            raise self.refusal
        return reading


class LibraryWorld:
    """Everything a library needs, in memory; `restart` keeps what a disk would keep."""

    def __init__(self, folder):
        self.folder = folder / "library"
        (self.folder / "cards").mkdir(parents=True)
        for card_id, language, title, body in CARDS:
            self.write_card(card_id, language, title, body)
        self.store = FakeStore(MIGRATIONS)
        self.blobs, self.clock, self.engines = FakeBlobs(), FakeClock(), FakeEngines()
        self.reader, self.events = _Reader(), _Events()

    def write_card(self, card_id, language, title, body, also=()):
        names = ", ".join(f'"{name}"' for name in also)
        heading = "Do now" if language == "en" else "Jetzt tun"
        (self.folder / "cards" / f"{card_id}.{language}.md").write_text(
            f'+++\nid = "{card_id}"\nlang = "{language}"\ntitle = "{title}"\ngroup = "power"\n'
            f'authorities = ["US CPSC"]\ndate = "2026-11"\nreview = "stable"\nalso = [{names}]\n+++\n'
            f"## {heading}\n{body}\n",
            encoding="utf-8",
        )

    def remove_card(self, card_id, language):
        (self.folder / "cards" / f"{card_id}.{language}.md").unlink()

    def write_asked(self, text):
        (self.folder / "asked.toml").write_text(text, encoding="utf-8")

    async def open(self, model="multilingual-e5-small"):
        self.tasks = Supervisor()
        parts = dict.fromkeys(Services.__struct_fields__)
        parts |= {
            "config": Config(rag=RagSection(library_dir=str(self.folder)), embedding=EmbeddingSection(model=model)),
            "clock": self.clock, "store": self.store, "blobs": self.blobs, "engines": self.engines,
            "spawn": self.tasks.spawn, "reader": self.reader, "vectors": FakeVectors, "events": self.events,
        }  # fmt: skip
        self.library = Library(Services(**parts))
        await self.library.start()

    async def close(self):
        await self.tasks.close()
        assert self.tasks.failures == []
        await self.store.close()

    async def restart(self, **how):
        await self.tasks.close()
        self.store = self.store.crash()
        await self.open(**how)

    async def settle(self):
        """Let background work run until it waits."""
        for _ in range(400):
            await asyncio.sleep(0)

    async def query(self, text, corpus="system", by=OWN, **how):
        return await self.library.query(by, CorpusParams(corpus), QueryInput(text, **how))

    async def ingest(self, text, title="", corpus="street"):
        return await self.ingest_blob(self.blobs.add(text.encode()), title, corpus)

    async def ingest_blob(self, cid, title="", corpus="street"):
        return await self.library.ingest(OWN, CorpusParams(corpus), IngestInput(cid, title))

    async def begin_half(self, corpus, cid):
        """What a crash leaves: a document entered, nothing of it written."""
        await self.library._index.begin(corpus, NewDocument(cid, "", "", "", 1, {}), 0.0)

    async def delete(self, cid, corpus="street"):
        return await self.library.delete(OWN, CorpusParams(corpus), DocumentInput(doc_cid=cid))

    async def reindex(self, corpus):
        return await self.library.reindex(OWN, CorpusParams(corpus), Nothing())

    async def read(self, wanted, corpus="system"):
        return await self.library.read(OWN, CorpusParams(corpus), wanted)

    async def documents(self, corpus, by=OWN):
        return (await self.library.list_documents(by, CorpusParams(corpus), Nothing())).documents

    async def list_corpora(self, by=OWN):
        return (await self.library.list_corpora(by, NoParams(), Nothing())).corpora

    async def corpora(self, by=OWN):
        return [item.name for item in await self.list_corpora(by)]
