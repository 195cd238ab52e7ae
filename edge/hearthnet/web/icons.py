"""Pictograms drawn from one table as inline SVG (design.md 6).

Grid 24, stroke 2, butt caps. Shapes: `s` stroke, `d` dashed stroke, `f` solid, `e` the one ember.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from markupsafe import Markup
from msgspec import json

_SHAPES: Final = json.decode(
    (files("hearthnet.web") / "templates" / "icons.json").read_bytes(), type=dict[str, list[tuple[str, str]]]
)


def _draw(shapes: list[tuple[str, str]]) -> Markup:
    paths = "".join(
        f'<path class="{kind}" d="{path}"/>' if kind != "s" else f'<path d="{path}"/>' for kind, path in shapes
    )
    return Markup(f'<svg class="i" viewBox="0 0 24 24" aria-hidden="true">{paths}</svg>')  # noqa: S704  our own table


_DRAWN: Final = {name: _draw(shapes) for name, shapes in _SHAPES.items()}
ICON_NAMES: Final = tuple(_DRAWN)


def icon(name: str) -> Markup:
    """The pictogram; it never stands alone, a word goes with it. Raises KeyError."""
    return _DRAWN[name]
