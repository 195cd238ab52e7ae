"""All route tables of a node, in the order of the navigation (M08)."""

from __future__ import annotations

from typing import Final

from hearthnet.web import (
    access,
    admin_api,
    api_page,
    ask,
    ask_stream,
    blobs_api,
    calls,
    documents,
    help_pages,
    join_page,
    library,
    models_page,
    observe,
    openai,
    openapi,
    settings,
    static_files,
    storage_page,
    styleguide,
)

PAGE_TABLES: Final = (
    ask.routes, ask_stream.routes, library.routes, documents.routes, settings.routes, models_page.routes,
    storage_page.routes, access.routes, help_pages.routes, join_page.routes,
    styleguide.routes, static_files.routes, api_page.routes,
)  # fmt: skip
PROGRAM_TABLES: Final = (
    openai.routes, calls.routes, blobs_api.routes, observe.routes, admin_api.routes, openapi.routes,
)  # fmt: skip
