"""Documents that people add: list, progress, upload, reading, deletion (M08, M05)."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, cast

from aiohttp import BodyPartReader, web

from hearthnet.base.errors import BadRequest, NotFound, Unauthorized
from hearthnet.base.types import CID, Role
from hearthnet.mesh.passages import CORPUS_PERSONAL, CORPUS_SYSTEM
from hearthnet.web.door import caller_of, door_of
from hearthnet.web.library_reader import list_corpora
from hearthnet.web.pages import redirect, render
from hearthnet.web.routing import RouteTable
from hearthnet.web.uploads import Upload, UploadDesk, clean_name

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from hearthnet.mesh.library_catalogue import CorpusSummary, DocumentSummary, DocumentText, Part

routes = RouteTable()
_PARTS: Final = 10
_CORPUS: Final = re.compile(r"[a-z0-9-]{1,64}")


def uploads_of(request: web.Request) -> UploadDesk:
    """The node's uploads."""
    door = door_of(request)
    desk = door.extras.get("web.uploads")
    if desk is None:
        desk = door.extras["web.uploads"] = UploadDesk(door.services)
    return cast("UploadDesk", desk)


async def _call(request: web.Request, name: str, corpus: str, body: dict[str, Any]) -> Any:
    return await door_of(request).bus.call(name, {"corpus": corpus}, body, caller=caller_of(request))


@routes.add("GET", "/library/documents", role=Role.MEMBER)
async def list_documents(request: web.Request) -> web.StreamResponse:
    """Documents by corpus, those on their way on top; `?part=list` gives the list alone."""
    corpora = [item for item in await list_corpora(request) if item.name != CORPUS_SYSTEM]
    filled = [(item, (await _call(request, "rag.list_documents@1.0", item.name, {})).documents) for item in corpora]
    uploads = _notices(uploads_of(request).list(), filled)
    filled = [(corpus, [item for item in found if item.state != "failed"]) for corpus, found in filled]
    documents = [document for _, found in filled for document in found]
    busy = "no"
    if any(item.state == "reading" for item in (*uploads, *documents)):
        busy = "reading"
    elif any(document.vectors_done < document.vectors_total for document in documents):
        busy = "learning"
    template = "library/documents_list.html" if request.query.get("part") == "list" else "library/documents.html"
    names = [CORPUS_PERSONAL, *(item.name for item in corpora if item.name != CORPUS_PERSONAL)]
    return render(request, template, filled=filled, uploads=uploads, busy=busy, corpora=names)


def _notices(
    uploads: Sequence[Upload], filled: Sequence[tuple[CorpusSummary, Sequence[DocumentSummary]]]
) -> list[Upload]:
    """What is on its way and what failed, each document once; what failed stays until someone dismisses it."""
    known = {(corpus.name, document.doc_cid): document for corpus, found in filled for document in found}
    failed = {key: document for key, document in known.items() if document.state == "failed"}
    shown = [item for item in uploads if item.state == "failed" or (item.corpus, item.doc_cid) not in known]
    told = {(item.corpus, item.doc_cid) for item in shown}
    return shown + [
        Upload(cid, corpus, document.title, document.size_bytes, "failed", BadRequest.code, document.error)
        for (corpus, cid), document in failed.items()
        if (corpus, cid) not in told
    ]


@routes.add("POST", "/library/documents", role=Role.MEMBER)
async def upload(request: web.Request) -> web.StreamResponse:
    """Take a file in: fields `corpus`, `new_corpus`, then `file`; reading goes on in the background."""
    if request.content_type != "multipart/form-data":
        raise BadRequest("a file comes as multipart/form-data")
    desk, corpus, taken = uploads_of(request), CORPUS_PERSONAL, 0
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader):
            raise BadRequest("nested parts are not read")
        if part.name in ("corpus", "new_corpus"):
            named = (await part.read_chunk(200)).decode(errors="replace").strip().lower()
            corpus = named or corpus
        elif part.name == "file" and part.filename:
            _check_corpus(corpus)
            cid, size = await desk.receive(_bytes_of(part))
            entry = Upload(cid, corpus, clean_name(part.filename), size)
            desk.read(entry, part.headers.get("Content-Type", "")[:100], caller_of(request))
            taken += 1
    if not taken:
        raise BadRequest("no file was chosen")
    return redirect("/library/documents")


async def _bytes_of(part: BodyPartReader) -> AsyncIterator[bytes]:
    while data := await part.read_chunk(65_536):
        yield data


def _check_corpus(corpus: str) -> None:
    if not _CORPUS.fullmatch(corpus):
        raise BadRequest("the name of a collection has small letters, digits and dashes")
    if corpus == CORPUS_SYSTEM:
        raise Unauthorized("the handbook is read-only")


@routes.add("GET", "/library/document/{corpus}/{doc_cid}", role=Role.MEMBER)
async def show_document(request: web.Request) -> web.StreamResponse:
    """A document in passages; `?at=` words are marked, `?page=` and `?first=` turn the leaves."""
    corpus, doc_cid = request.match_info["corpus"], request.match_info["doc_cid"]
    marks = [words[:300] for words in request.query.getall("at", [])[:4] if words.strip()]
    first = _number(request.query.get("first", "0"))
    page = _number(request.query.get("page", "0"))
    found = await _leaf(request, corpus, doc_cid, first)
    if page and "first" not in request.query:
        while found.parts and all(part.page < page for part in found.parts) and first + _PARTS < found.document.chunks:
            first += _PARTS
            found = await _leaf(request, corpus, doc_cid, first)
    parts = [
        (part, _marked(part, found.parts[index - 1] if index else None, marks))
        for index, part in enumerate(found.parts)
    ]
    return render(
        request,
        "library/document.html",
        corpus=corpus,
        document=found.document,
        parts=parts,
        first=first,
        following=first + _PARTS if first + _PARTS < found.document.chunks else 0,
        previous=max(0, first - _PARTS) if first else None,
    )


async def _leaf(request: web.Request, corpus: str, doc_cid: str, first: int) -> DocumentText:
    wanted = {"doc_cid": doc_cid, "first": first, "count": _PARTS}
    return cast("DocumentText", await _call(request, "rag.read@1.0", corpus, wanted))


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 7 else 0


def _marked(part: Part, before: Part | None, marks: list[str]) -> list[tuple[str, bool]]:
    """The words of a passage without what the one before already showed, marks told apart."""
    overlap = max(0, before.end - part.start) if before is not None and before.page == part.page else 0
    text = part.text[overlap:]
    pieces: list[tuple[str, bool]] = []
    spans = sorted(span for mark in marks if (span := _find(text, mark)))
    position = 0
    for start, end in spans:
        if start >= position:
            pieces += [(text[position:start], False), (text[start:end], True)]
            position = end
    return [piece for piece in [*pieces, (text[position:], False)] if piece[0]]


def _find(text: str, mark: str) -> tuple[int, int] | None:
    pattern = r"\s+".join(re.escape(word) for word in mark.split())
    found = re.search(pattern, text)
    return found.span() if found else None


@routes.add("GET", "/library/document/{corpus}/{doc_cid}/file", role=Role.MEMBER)
async def send_file(request: web.Request) -> web.StreamResponse:
    """The original, always as a download."""
    found = await _leaf(request, request.match_info["corpus"], request.match_info["doc_cid"], 0)
    blobs, cid = door_of(request).services.blobs, CID(found.document.doc_cid)
    name = re.sub(r"[^\w.-]+", "-", found.document.title, flags=re.ASCII).strip("-") or "document"
    response = web.StreamResponse(
        headers={"Content-Type": "application/octet-stream", "Content-Disposition": f'attachment; filename="{name}"'}
    )
    response.content_length = await blobs.size(cid)
    await response.prepare(request)
    async for data in blobs.read(cid):
        await response.write(data)
    return response


@routes.add("POST", "/library/document/{corpus}/{doc_cid}/delete", role=Role.MEMBER)
async def delete_document(request: web.Request) -> web.StreamResponse:
    """Delete a document and everything made from it; an upload that failed is only forgotten."""
    corpus, doc_cid = request.match_info["corpus"], request.match_info["doc_cid"]
    uploads_of(request).forget(corpus, doc_cid)
    with suppress(NotFound):  # gone already, or never taken in
        await _call(request, "rag.delete@1.0", corpus, {"doc_cid": doc_cid})
    return redirect("/library/documents")
