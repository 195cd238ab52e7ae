"""`pair` opens the pages for a phone, `token` for a program (decisions 24 and 27)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from hearthnet.cli.output import Console
    from hearthnet.web.i18n import Texts


def add_arguments(name: str, parser: argparse.ArgumentParser, t: Texts) -> None:
    """Options of these commands."""
    if name == "pair":
        parser.add_argument("--role", choices=("member", "admin"), default="member", help=t("cli.opt.role"))
        return
    verbs = parser.add_subparsers(dest="verb", required=True, metavar=t("cli.command"))
    create = verbs.add_parser("create", help=t("cli.token.create"))
    create.add_argument("label", help=t("cli.opt.label"))
    create.add_argument("--role", choices=("member", "admin"), default="member", help=t("cli.opt.role"))
    verbs.add_parser("list", help=t("cli.token.list"))
    revoke = verbs.add_parser("revoke", help=t("cli.token.revoke"))
    revoke.add_argument("id", help=t("cli.opt.token_id"))


def run_command(name: str, options: argparse.Namespace, console: Console) -> int:
    """Run one of these commands."""
    return _pair(options, console) if name == "pair" else _token(options, console)


def _pair(options: argparse.Namespace, console: Console) -> int:
    made = console.client.post("/v1/pair", {"role": options.role})
    if console.as_json:
        console.data(made)
        return 0
    url = made["url"]
    import segno

    segno.make(url, error="q").terminal(compact=True)
    console.line(url)
    console.note(console.t("cli.pair.once", minutes=made["expires_in_seconds"] // 60))
    if made["local_only"]:
        console.note(console.t("cli.pair.local_only"))
    return 0


def _token(options: argparse.Namespace, console: Console) -> int:
    if options.verb == "create":
        made = console.client.post("/v1/tokens", {"label": options.label, "role": options.role})
        if console.as_json:
            console.data(made)
        else:
            console.line(made["secret"])
            console.note(console.t("cli.token.once", id=made["id"]))
        return 0
    if options.verb == "revoke":
        console.client.delete(f"/v1/tokens/{options.id}")
        if console.as_json:
            console.data({"revoked": options.id})
        else:
            console.note(console.t("cli.token.revoked", id=options.id))
        return 0
    tokens = console.client.get("/v1/tokens")["tokens"]
    if console.as_json:
        console.data({"tokens": tokens})
        return 0
    t = console.t
    states = {True: t("cli.token.state.revoked"), False: t("cli.token.state.valid")}
    rows = [(k["id"], k["role"], states[k["revoked_at"] is not None], k["label"]) for k in tokens]
    console.table(rows, (t("cli.trace.id"), t("cli.token.role"), t("cli.trace.result"), t("cli.token.label")))
    return 0
