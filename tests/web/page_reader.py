"""What stands in a page: headings, links, ids, resources; and every page there is."""

from __future__ import annotations

from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

VOID = {"meta", "link", "input", "br", "img", "path", "rect"}


class Page(HTMLParser):
    """Collects while it parses."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.headings: list[tuple[int, str]] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.refs: list[str] = []
        self.fields: list[dict[str, str]] = []
        self.labels: set[str] = set()
        self.resources: list[str] = []
        self.forms: list[dict[str, str]] = []
        self.inline: list[str] = []
        self.unlabelled_buttons = 0
        self._open: list[str] = []
        self._heading: list[str] | None = None
        self._button: list[str] | None = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        known = {name: value or "" for name, value in attrs}
        if tag not in VOID:
            self._open.append(tag)
        self._note_attributes(tag, known)
        if tag[0] == "h" and tag[1:].isdigit():
            self._heading = []
            self.headings.append((int(tag[1]), ""))
        elif tag == "button":
            self._button = [known.get("aria-label", "")]
        elif tag == "form":
            self.forms.append(known)
        elif tag == "style":
            self.inline.append("style element")
        elif tag in ("input", "textarea", "select") and known.get("type") != "hidden":
            self.fields.append(known | {"in_label": "yes" if "label" in self._open else ""})

    def _note_attributes(self, tag, known):
        if "id" in known:
            self.ids.append(known["id"])
        for name in ("aria-labelledby", "aria-describedby"):
            self.refs += known.get(name, "").split()
        self.inline += [f"{tag} {name}" for name in known if name == "style" or name.startswith("on")]
        if tag == "a" and "href" in known:
            self.links.append(known["href"])
        if tag == "label":
            self.labels.add(known.get("for", ""))
        if tag == "script":
            self.resources.append(known.get("src", "inline"))
        if tag == "link" and known.get("rel") in ("stylesheet", "preload"):
            self.resources.append(known["href"])

    def handle_data(self, data):
        if self._heading is not None:
            self._heading.append(data)
        if self._button is not None:
            self._button.append(data)

    def handle_endtag(self, tag):
        if tag in self._open:
            while self._open.pop() != tag:
                pass
        if tag[0] == "h" and tag[1:].isdigit() and self._heading is not None:
            level = self.headings[-1][0]
            self.headings[-1] = (level, "".join(self._heading).strip())
            self._heading = None
        if tag == "button" and self._button is not None:
            self.unlabelled_buttons += not "".join(self._button).strip()
            self._button = None


async def crawl(client, start="/", headers=None, limit=400):
    """Every page that links lead to from `start`, as (path, status, text)."""
    todo, seen, pages = [start], set(), []
    while todo and len(seen) < limit:
        path = todo.pop(0)
        plain = urlsplit(path)._replace(fragment="").geturl()
        if plain in seen:
            continue
        seen.add(plain)
        reply = await client.get(plain, headers=headers)
        kind = reply.headers.get("Content-Type", "")
        text = await reply.text() if kind.startswith("text/html") else ""
        await reply.release()
        pages.append((plain, reply.status, text))
        for link in Page(text).links:
            target = urlsplit(urljoin(f"http://x{plain}", link))
            if target.netloc == "x" and not _is_sibling(target.path, seen):
                todo.append(target._replace(scheme="", netloc="").geturl())
    return pages


def _is_sibling(path, seen):
    """One card stands for all cards."""
    return path.startswith("/library/card/") and sum(known.startswith("/library/card/") for known in seen) > 3
