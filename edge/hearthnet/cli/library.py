"""`ask` a question; `rag list|ingest|query|reindex|delete` for the library (M12, M05)."""

from __future__ import annotations

import mimetypes
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hearthnet.base.errors import NotFound, error_from_wire

if TYPE_CHECKING:
    import argparse

    from hearthnet.cli.output import Console
    from hearthnet.web.i18n import Texts


def add_arguments(name: str, parser: argparse.ArgumentParser, t: Texts) -> None:
    """Options of these commands."""
    if name == "ask":
        parser.add_argument("question", nargs="+", help=t("cli.opt.question"))
        parser.add_argument("--model", default="hearthnet", help=t("cli.opt.model"))
        return
    verbs = parser.add_subparsers(dest="verb", required=True, metavar=t("cli.command"))
    verbs.add_parser("list", help=t("cli.rag.list"))
    ingest = verbs.add_parser("ingest", help=t("cli.rag.ingest"))
    ingest.add_argument("path", type=Path, help=t("cli.opt.path"))
    ingest.add_argument("--title", default="", help=t("cli.opt.title"))
    query = verbs.add_parser("query", help=t("cli.rag.query"))
    query.add_argument("text", nargs="+", help=t("cli.opt.question"))
    query.add_argument("-k", type=int, default=5, help=t("cli.opt.k"))
    reindex = verbs.add_parser("reindex", help=t("cli.rag.reindex"))
    delete = verbs.add_parser("delete", help=t("cli.rag.delete"))
    delete.add_argument("doc_cid", help=t("cli.opt.doc_cid"))
    query.add_argument("--corpus", default="", help=t("cli.opt.corpus_all"))
    for verb in (ingest, reindex, delete):
        verb.add_argument("--corpus", default="personal", help=t("cli.opt.corpus"))


def run_command(name: str, options: argparse.Namespace, console: Console) -> int:
    """Run one of these commands."""
    if name == "ask":
        return _ask(options, console)
    verbs = {"list": _list, "ingest": _ingest, "query": _query, "reindex": _reindex, "delete": _delete}
    return verbs[options.verb](options, console)


def _call(console: Console, name: str, params: dict[str, Any], request: dict[str, Any]) -> Any:
    return console.client.post(f"/v1/call/{name}", {"params": params, "input": request})["output"]


def _ask(options: argparse.Namespace, console: Console) -> int:
    body = {
        "params": {"model": options.model, "language": console.t.language},
        "input": {"messages": [{"role": "user", "content": " ".join(options.question)}]},
    }
    frames: list[Any] = []
    open_line = False
    for frame in console.client.frames("/v1/call/llm.chat@1.0", body):
        frames.append(frame)
        if frame.get("event") == "error":
            raise error_from_wire(frame["error"], frame.get("message", ""), frame.get("retry_after_ms"))
        if frame.get("event") == "token" and not console.as_json:
            open_line = _write(frame, open_line)
    if console.as_json:
        console.data({"frames": frames})
        return 0
    console.line()
    done = frames[-1]
    cited = {number for frame in frames if frame.get("event") == "token" for number in frame["cites"]}
    sources: list[Any] = next((f["sources"] for f in reversed(frames) if f.get("event") == "sources"), [])
    for source in sources:  # a refusal names the nearest, an answer what it cites
        if source["number"] in cited or done.get("tier") == "not_in_library":
            console.line(console.paint(f"[{source['number']}] {source['title']}", "bold"))
    if done.get("event") == "done":
        console.note(
            " · ".join(filter(None, (console.t(f"tier.{done['tier']}"), done["model"], f"{done['ms'] / 1000:.1f} s")))
        )
    return 0


def _write(frame: dict[str, Any], open_line: bool) -> bool:
    """Quotes stand on lines of their own, generated text runs on; returns whether a line is open."""
    marks = "".join(f" [{number}]" for number in frame["cites"])
    if frame["quoted"]:
        sys.stdout.write(("\n" if open_line else "") + frame["text"] + marks + "\n")
    else:
        sys.stdout.write(frame["text"] + marks)
    sys.stdout.flush()
    return not frame["quoted"]


def _list(_options: argparse.Namespace, console: Console) -> int:
    corpora = _call(console, "rag.list_corpora@1.0", {}, {})["corpora"]
    if console.as_json:
        console.data({"corpora": corpora})
        return 0
    rows = [(c["name"], str(c["docs"]), str(c["chunks"]), c["language_majority"]) for c in corpora]
    t = console.t
    console.table(rows, (t("cli.caps.name"), t("cli.rag.docs"), t("cli.rag.chunks"), t("cli.rag.language")))
    return 0


def _ingest(options: argparse.Namespace, console: Console) -> int:
    path: Path = options.path
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    if not files or not path.exists():
        raise NotFound(f"no file {path}")
    results = []
    for number, file in enumerate(files, 1):
        console.progress(f"{number}/{len(files)} {file.name}")
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        stored = console.client.upload("/v1/blobs", file, kind)
        request = {
            "doc_cid": stored["cid"], "title": options.title or file.stem,
            "metadata": {"filename": file.name, "media_type": kind},
        }  # fmt: skip
        results.append(_call(console, "rag.ingest@1.0", {"corpus": options.corpus}, request))
    console.progress("")
    if console.as_json:
        console.data({"documents": results})
    else:
        for result in results:
            console.line(console.t("cli.rag.ingested", cid=result["doc_cid"], count=result["chunks_indexed"]))
    return 0


def _query(options: argparse.Namespace, console: Console) -> int:
    request = {"query": " ".join(options.text), "k": options.k}
    corpora = [options.corpus] if options.corpus else [
        corpus["name"] for corpus in _call(console, "rag.list_corpora@1.0", {}, {})["corpora"] if corpus["docs"]
    ]  # fmt: skip
    found = [
        chunk | {"corpus": corpus}
        for corpus in corpora
        for chunk in _call(console, "rag.query@1.0", {"corpus": corpus}, request)["chunks"]
    ]
    if console.as_json:
        console.data({"chunks": found})
        return 0
    if not found:
        console.note(console.t("library.search.none", words=request["query"]))
    for corpus, chunk in ((chunk["corpus"], chunk) for chunk in found):
        if len(corpora) > 1 and chunk["rank"] == 1:
            console.line(console.paint(corpus, "bold"))
        console.line(f"{chunk['rank']}. {chunk['metadata']['doc_title']}  {chunk['score']:.3f}")
        console.line(f"   {' '.join(chunk['text'].split())[:160]}")
    return 0


def _reindex(options: argparse.Namespace, console: Console) -> int:
    started = time.monotonic()
    result = _call(console, "rag.reindex@1.0", {"corpus": options.corpus}, {})
    if console.as_json:
        console.data(result)
    else:
        console.line(console.t("cli.rag.reindexed", seconds=f"{time.monotonic() - started:.1f}"))
    return 0


def _delete(options: argparse.Namespace, console: Console) -> int:
    result = _call(console, "rag.delete@1.0", {"corpus": options.corpus}, {"doc_cid": options.doc_cid})
    if console.as_json:
        console.data(result)
    else:
        console.line(console.t("cli.rag.deleted", cid=options.doc_cid))
    return 0
