"""Listening: what to do is said when an address cannot be had."""

from __future__ import annotations

import pytest
from aiohttp import web

from hearthnet.base.errors import StartupError
from hearthnet.web.serving import Listener


async def test_an_address_that_is_not_ours_names_both_settings():
    listener = Listener(web.Application())
    await listener.open()
    with pytest.raises(StartupError) as raised:
        await listener.listen("203.0.113.7", 0, "ui.port")
    await listener.close()
    assert raised.value.fix == "check ui.host and ui.port"
