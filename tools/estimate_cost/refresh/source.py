"""Reading from an address: streamed, limited, and with one clear sentence for each kind of bad reply."""

import http.client
import io
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from ..._core.contract import current_call
from ..._core.errors import ToolError, shorten

_TIMEOUT_SECONDS = 60
_JSON_LIMIT_BYTES = 64 * 1024**2
_AGAIN = "again later; the prices held are unchanged"


def read_json(url: str, *, body: bytes | None = None, headers: dict[str, str] | None = None) -> Any:
    """The parsed JSON at `url`; `body` makes it a POST."""
    sent = {"Accept": "application/json", **(headers or {})}
    if body is not None:
        sent["Content-Type"] = "application/json"
    with _open(url, body, sent) as response:
        text = _read(url, response)
    try:
        return json.loads(text)
    except ValueError as error:
        raise bad(url, "does not send JSON", text[:80].decode("utf-8", "replace")) from error


def read_lines(url: str) -> Iterator[str]:
    """The lines of the text at `url`, as they arrive."""
    with _open(url, None, {}) as response:
        expected = response.headers.get("Content-Length")
        got = 0
        try:
            for number, line in enumerate(response):
                got += len(line)
                if number == 0:
                    _refuse_html(url, line)
                if number % 10_000 == 0:
                    current_call().check_cancelled()
                yield line.decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            raise bad(url, "broke off", f"after {got} bytes") from error
        if expected is not None and got < int(expected):
            raise bad(url, "broke off", f"{got} of {expected} bytes")


def column(record: Any, name: str, url: str) -> Any:
    """A field that the source must have."""
    if not isinstance(record, dict) or name not in record:
        raise bad(url, f"has no {name!r} any more", shorten(record))
    return record[name]


def bad(url: str, what: str, saw: object = None) -> ToolError:
    """The refusal of a source: what it did, and that nothing changed."""
    return ToolError(f"{url} {what}", saw=saw, try_next=_AGAIN)


def _open(url: str, body: bytes | None, headers: dict[str, str]) -> http.client.HTTPResponse:
    if not url.startswith(("https://", "http://")):
        raise ToolError("The endpoint is no web address", saw=url, try_next="https://...")
    request = urllib.request.Request(
        url, data=body, headers={"User-Agent": "optimizing-resources", **headers}
    )
    try:
        response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        wait = error.headers.get("Retry-After")
        error.close()
        if error.code == 429:
            raise ToolError(
                f"{url} asks to wait", saw="HTTP 429", try_next=f"again in {wait or 60} s"
            ) from error
        raise bad(url, f"answers HTTP {error.code}") from error
    except (urllib.error.URLError, OSError, http.client.HTTPException) as error:
        raise bad(url, "cannot be reached", getattr(error, "reason", error)) from error
    return response


def _read(url: str, response: http.client.HTTPResponse) -> bytes:
    buffer = io.BytesIO()
    expected = response.headers.get("Content-Length")
    try:
        while chunk := response.read(1 << 16):
            current_call().check_cancelled()
            buffer.write(chunk)
            if buffer.tell() > _JSON_LIMIT_BYTES:
                raise bad(url, "sends more than 64 MiB")
    except (OSError, http.client.HTTPException) as error:
        raise bad(url, "broke off", f"after {buffer.tell()} bytes") from error
    if expected is not None and buffer.tell() < int(expected):
        raise bad(url, "broke off", f"{buffer.tell()} of {expected} bytes")
    text = buffer.getvalue()
    _refuse_html(url, text)
    return text


def _refuse_html(url: str, start: bytes) -> None:
    if start.lstrip()[:1] == b"<":
        raise bad(url, "sends a web page instead of prices", start[:60].decode("utf-8", "replace"))
