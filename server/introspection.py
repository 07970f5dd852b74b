"""Tokens of an OAuth authorization server, which is asked about each of them (RFC 7662)."""

import logging
import os

import httpx2
from mcp.server.auth.provider import AccessToken, TokenVerifier
from pydantic import BaseModel, ValidationError

SECRET = (
    "OPTIMIZING_RESOURCES_INTROSPECTION"  # `id:secret` with which we ask; from the environment, never a flag
)
_SECONDS = 5.0

log = logging.getLogger(__name__)


class _Answer(BaseModel):
    """The fields of RFC 7662 that we look at; it may carry more."""

    active: bool
    aud: str | list[str] = []
    client_id: str = ""
    scope: str = ""
    exp: int | None = None
    sub: str | None = None
    iss: str | None = None

    @property
    def audiences(self) -> list[str]:
        return [self.aud] if isinstance(self.aud, str) else self.aud


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
            said = _Answer.model_validate_json(answer.raise_for_status().content)
        except (httpx2.HTTPError, ValidationError) as error:
            log.error("the authorization server gave no answer: %s", type(error).__name__)
            return None
        if not said.active or self._resource not in [one.rstrip("/") for one in said.audiences]:
            return None
        return AccessToken(
            token=token,
            client_id=f"oauth:{said.client_id}",  # a name that no token of the file can have
            scopes=said.scope.split(),
            expires_at=said.exp,
            resource=self._resource,
            subject=said.sub,
            claims={"iss": said.iss} if said.iss else None,
        )
