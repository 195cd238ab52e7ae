"""Talks to the running node over its control socket; only file permissions guard it (M12).

Synchronous and built on `http.client`, so that `hearthnet status` starts in a fraction of a second.
"""

from __future__ import annotations

import http.client
import socket
from typing import TYPE_CHECKING, Any, Final

import msgspec

from hearthnet.base.errors import CallTimeout, NoRunningNode, error_from_wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_STOPPED: Final = "the node stopped before the answer was complete"


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("hearthnet", timeout=timeout_s)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class NodeClient:
    """Requests to the node of this home; raises NoRunningNode, or the error that the node answered."""

    def __init__(self, control_socket: Path, language: str, timeout_s: float = 330.0) -> None:
        self._socket = control_socket
        self._headers = {"Accept-Language": language}
        self._timeout_s = timeout_s

    def get(self, path: str) -> Any:
        """Decoded JSON of a GET."""
        return msgspec.json.decode(self._request("GET", path, b"").read())

    def text(self, path: str) -> str:
        """Body of a GET as text."""
        return self._request("GET", path, b"").read().decode()

    def post(self, path: str, body: object) -> Any:
        """Decoded JSON of a POST."""
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        answer = self._request("POST", path, data).read()
        return msgspec.json.decode(answer) if answer else None

    def delete(self, path: str) -> Any:
        """Decoded JSON of a DELETE."""
        answer = self._request("DELETE", path, b"").read()
        return msgspec.json.decode(answer) if answer else None

    def upload(self, path: str, source: Path, content_type: str) -> Any:
        """Send a file as the body of a POST."""
        with source.open("rb") as stream:
            return msgspec.json.decode(self._request("POST", path, stream, content_type).read())

    def frames(self, path: str, body: object) -> Iterator[Any]:
        """Decoded `data:` objects of a server-sent event stream; raises NoRunningNode when it breaks off."""
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        response = self._request("POST", path, data, accept="text/event-stream")
        if response.headers.get_content_type() != "text/event-stream":
            yield msgspec.json.decode(response.read())
            return
        ended = False
        try:
            for line in response:
                if line.startswith(b"data:"):
                    frame = msgspec.json.decode(line[5:].strip())
                    ended = frame.get("event") in ("done", "error")
                    yield frame
        except (OSError, http.client.HTTPException) as fault:
            raise NoRunningNode(_STOPPED, fix="hearthnet log") from fault
        if not ended:
            raise NoRunningNode(_STOPPED, fix="hearthnet log")

    def _request(
        self, method: str, path: str, body: Any, content_type: str = "application/json", accept: str = ""
    ) -> http.client.HTTPResponse:
        connection = _UnixConnection(self._socket, self._timeout_s)
        headers = dict(self._headers)
        if body:
            headers["Content-Type"] = content_type
        if accept:
            headers["Accept"] = accept
        try:
            connection.request(method, path, body or None, headers)
            response = connection.getresponse()
        except (FileNotFoundError, ConnectionRefusedError) as fault:
            raise NoRunningNode(f"no node answers at {self._socket}", fix="hearthnet run") from fault
        except (ConnectionError, http.client.HTTPException) as fault:
            raise NoRunningNode(_STOPPED, fix="hearthnet log") from fault
        except TimeoutError as fault:
            raise CallTimeout(f"the node did not answer within {self._timeout_s:g} s") from fault
        except OSError as fault:
            fault.filename = fault.filename or str(self._socket)
            raise
        if response.status >= 400:
            raise _error_of(response.read())
        return response


def _error_of(body: bytes) -> Exception:
    try:
        data = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, msgspec.ValidationError):
        return error_from_wire("internal_error", body[:200].decode("utf-8", "replace"))
    error = error_from_wire(str(data.get("error")), str(data.get("message", "")), data.get("retry_after_ms"))
    error.fix = str(data.get("fix", ""))
    return error
