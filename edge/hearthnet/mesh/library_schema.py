"""Tables of the library (M05): corpora, documents, chunks, units that carry vectors, and one word index a corpus.

A document is `reading` while its chunks are being written and `ready` when it can be found by words; vectors follow
in the background, a unit without one is pending. Word indexes are apart so that what a household adds never changes
how rare a word is in the handbook.
"""

from __future__ import annotations

from typing import Final

from hearthnet.ports import Migration

MIGRATIONS: Final = (
    Migration(
        "library",
        1,
        """
        CREATE TABLE library_corpora (
          id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, model TEXT NOT NULL, analyser INTEGER NOT NULL
        );
        CREATE TABLE library_docs (
          id INTEGER PRIMARY KEY, corpus INTEGER NOT NULL REFERENCES library_corpora(id) ON DELETE CASCADE,
          doc_cid TEXT NOT NULL, title TEXT NOT NULL, language TEXT NOT NULL, media_type TEXT NOT NULL,
          size_bytes INTEGER NOT NULL, metadata TEXT NOT NULL, state TEXT NOT NULL, error TEXT NOT NULL DEFAULT '',
          added_at REAL NOT NULL, tokens INTEGER NOT NULL DEFAULT 0, event_id TEXT NOT NULL DEFAULT '',
          UNIQUE (corpus, doc_cid)
        );
        CREATE TABLE library_chunks (
          id INTEGER PRIMARY KEY, doc INTEGER NOT NULL REFERENCES library_docs(id) ON DELETE CASCADE,
          number INTEGER NOT NULL, page INTEGER NOT NULL, start INTEGER NOT NULL, stop INTEGER NOT NULL,
          text TEXT NOT NULL
        );
        CREATE INDEX library_chunks_doc ON library_chunks(doc, number);
        CREATE TABLE library_units (
          id INTEGER PRIMARY KEY, chunk INTEGER NOT NULL REFERENCES library_chunks(id) ON DELETE CASCADE,
          corpus INTEGER NOT NULL, kind INTEGER NOT NULL, start INTEGER NOT NULL, stop INTEGER NOT NULL,
          label TEXT NOT NULL, vector BLOB
        );
        CREATE INDEX library_units_chunk ON library_units(chunk);
        CREATE INDEX library_units_corpus ON library_units(corpus);
        CREATE INDEX library_units_pending ON library_units(corpus, id) WHERE vector IS NULL;
        """,
    ),
    Migration("library", 2, "ALTER TABLE library_units ADD COLUMN heading TEXT NOT NULL DEFAULT '';"),
)


def word_index(corpus: int) -> str:
    """Name of the word index of a corpus; safe to stand in SQL."""
    return f"library_words_{int(corpus)}"


def make_word_index(corpus: int) -> tuple[str, ...]:
    """Statements that make it anew: rows are chunk ids, columns hold analysed words; beside it the count of each word.

    Positions are kept although nothing asks for them: without them BM25 reads every row's text again.
    """
    name = word_index(corpus)
    return (
        f"DROP TABLE IF EXISTS {name}_counts",
        f"DROP TABLE IF EXISTS {name}",
        f'CREATE VIRTUAL TABLE {name} USING fts5(title, also, body, tokenize = "unicode61 remove_diacritics 0")',
        f"CREATE VIRTUAL TABLE {name}_counts USING fts5vocab({name}, 'row')",
    )
