"""The page behind an invitation's link: readable by anybody, and it never asks for what stands behind the #."""

from __future__ import annotations

import pytest

from web.conftest import GUEST_HOST


@pytest.mark.parametrize(("language", "words"), [("de", "Adresse dieser Seite"), ("en", "address of this page")])
async def test_a_phone_learns_what_to_do_with_the_link(member, language, words):
    response = await member.get("/join", headers={**GUEST_HOST, "Accept-Language": language})
    text = await response.text()
    assert response.status == 200
    assert words in text
    assert "<script" not in text.partition("<main")[2]
