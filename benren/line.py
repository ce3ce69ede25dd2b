"""A connection to one service: requests, and refusals as the exceptions that they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from benren.problems import UnexpectedAnswer, json_object, unreachable


class Line:
    """A connection to one service, with or without an API key."""

    def __init__(
        self,
        url: str,
        api_key: str,
        timeout_s: float,
        transport: httpx.AsyncBaseTransport | None,
    ) -> None:
        """Without an `api_key`, ``""``, requests carry only the token that they are given."""
        self.url = url.rstrip("/")
        self._http = httpx.AsyncClient(
            base_url=url,
            headers=_bearer(api_key),
            timeout=timeout_s,
            transport=transport,
            trust_env=False,
        )

    async def send(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
        content: bytes | None = None,
        token: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Send a request and give the answer, whatever it is. Raises ServiceUnreachable."""
        try:
            return await self._http.request(
                method,
                path,
                json=body,
                params=params,
                content=content,
                headers={**_bearer(token), **(headers or {})},
            )
        except httpx.TransportError as error:
            raise unreachable(self.url, error) from error

    async def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        params: Mapping[str, str] | None = None,
        token: str = "",
    ) -> dict[str, Any]:
        """Send a request and give the JSON object of a good answer, or raise what it stands for."""
        return json_object(await self.send(method, path, body=body, params=params, token=token))

    async def aclose(self) -> None:
        """Close the connection."""
        await self._http.aclose()


def not_as_documented(what: str, error: Exception) -> UnexpectedAnswer:
    """Shape an answer that cannot be read."""
    return UnexpectedAnswer(
        f"The service's {what} is not as documented: {error!r}.",
        remedy="Use the client and the services of one release.",
    )


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}
