"""The folders in which a client of the handshake era says it works."""

import logging
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp.types import ListRootsRequest, ListRootsResult

log = logging.getLogger(__name__)

ROOTS_SECONDS = 2.0  # a client that announces roots but does not name them is not waited for any longer


async def client_roots(session: Any, request_id: Any) -> tuple[Path, ...]:
    """The folders a client of the handshake era works in; none where it does not say."""
    announced = session.client_capabilities and session.client_capabilities.roots
    if not announced or not session.can_send_request:
        return ()
    try:
        answer = await session.send_request(
            ListRootsRequest(),
            ListRootsResult,
            request_read_timeout_seconds=ROOTS_SECONDS,
            metadata=ServerMessageMetadata(related_request_id=request_id),
        )
    except MCPError as error:
        log.warning("The client announced roots but did not name them: %s", error)
        return ()
    uris = [urlparse(str(root.uri)) for root in answer.roots]
    return tuple(Path(url2pathname(uri.path)) for uri in uris if uri.scheme == "file")
