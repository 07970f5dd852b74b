"""Tokens of an OAuth authorization server, which is asked about each of them (RFC 7662)."""

import logging
import os
from typing import Any

import httpx2
from mcp.server.auth.provider import AccessToken, TokenVerifier

SECRET = (
    "OPTIMIZING_RESOURCES_INTROSPECTION"  # `id:secret` with which we ask; from the environment, never a flag
)
_SECONDS = 5.0

log = logging.getLogger(__name__)


class Introspection:
    """Asks `endpoint` about tokens that `first` does not know. Only tokens issued for `resource` are good."""

    def __init__(self, endpoint: str, resource: str, first: TokenVerifier) -> None:
        self._endpoint, self._resource, self._first = endpoint, resource.rstrip("/"), first
        self._who, _, self._secret = os.environ.get(SECRET, "").partition(":")

    async def verify_token(self, token: str) -> AccessToken | None:
        """Whose token that is, as the authorization server says; None where it does not say so."""
        if known := await self._first.verify_token(token):
            return known
        try:
            async with httpx2.AsyncClient(timeout=_SECONDS, auth=(self._who, self._secret)) as client:
                answer = await client.post(self._endpoint, data={"token": token})
            said = answer.raise_for_status().json()
        except (httpx2.HTTPError, ValueError) as error:
            log.error("the authorization server did not answer: %s", type(error).__name__)
            return None
        return self._accepted(token, said)

    def _accepted(self, token: str, said: dict[str, Any]) -> AccessToken | None:
        audience = said.get("aud") or []
        audiences = [audience] if isinstance(audience, str) else audience
        if said.get("active") is not True or self._resource not in [one.rstrip("/") for one in audiences]:
            return None
        return AccessToken(
            token=token,
            client_id=said.get("client_id", "oauth"),
            scopes=said.get("scope", "").split(),
            expires_at=said.get("exp"),
            resource=self._resource,
            subject=said.get("sub"),
            claims={"iss": said["iss"]} if "iss" in said else None,
        )
