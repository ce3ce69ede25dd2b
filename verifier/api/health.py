"""``/healthz``, ``/readyz``, ``/version``, ``/v1/keys`` and ``/metrics``: for operators."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from verifier.edge import HttpMetrics
from verifier.errors import BenrenError
from verifier.keys import KeyRing

_log = logging.getLogger("benren.health")


class NotReady(BenrenError):
    """The service cannot infer."""

    status = 503
    retry_after_s = 5


class Health(BaseModel):
    """The process runs, or the service is ready."""

    status: Literal["ok"] = "ok"


class Version(BaseModel):
    """What runs here."""

    name: str = Field(default="benren-verifier", examples=["benren-verifier"])
    version: str = Field(examples=["0.1.0"])
    pack: str = Field(examples=["open"])
    models: dict[str, str] = Field(
        description="Role -> id@sha256.", examples=[{"detector": "yunet_n_dynamic@104ee26c71d5"}]
    )
    providers: list[str] = Field(examples=[["CPUExecutionProvider"]])
    profile_version: str = Field(
        description="Version of the threshold profile.", examples=["open-2026.11"]
    )


class PublicKey(BaseModel):
    """A JSON Web Key (RFC 7517, RFC 8037)."""

    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    use: Literal["sig"]
    kid: str = Field(examples=["20261124t010203-9f3a"])
    x: str = Field(examples=["11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"])


class PublicKeys(BaseModel):
    """The keys that verify our signatures, newest first."""

    keys: list[PublicKey]


class Readiness:
    """A real inference, at most once in `fresh_s` seconds however many ask."""

    def __init__(
        self,
        self_test: Callable[[], Awaitable[None]],
        *,
        fresh_s: float = 5.0,
        timeout_s: float = 10.0,
    ) -> None:
        self._self_test = self_test
        self._fresh_s = fresh_s
        self._timeout_s = timeout_s
        self._lock = asyncio.Lock()
        self._tested_at: float | None = None
        self._failure = ""

    async def check(self) -> None:
        """Return where the service can infer. Raises NotReady with the reason."""
        loop = asyncio.get_running_loop()
        async with self._lock:
            if self._tested_at is None or loop.time() - self._tested_at >= self._fresh_s:
                self._failure = await self._test()
                self._tested_at = loop.time()
        if self._failure:
            raise NotReady(self._failure, remedy="See the service's log.")

    async def _test(self) -> str:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._self_test()
        except TimeoutError:
            return f"The built-in picture was not judged within {self._timeout_s:g} s."
        except BenrenError as error:
            _log.error("not ready: %s", error)
            return error.detail
        except Exception:  # noqa: BLE001 - whatever it is, the answer is: not ready
            _log.exception("not ready")
            return "The inference on the built-in picture failed."
        return ""


def health_router(
    *,
    readiness: Readiness,
    keyring: KeyRing,
    metrics: HttpMetrics,
    version: Version,
) -> APIRouter:
    """Make the operators' routes."""
    router = APIRouter(tags=["operation"])

    @router.get("/healthz", summary="Is the process alive?")
    async def healthz() -> Health:
        """Answer as long as the process runs, whatever the models do."""
        return Health()

    @router.get("/readyz", summary="Can it infer?")
    async def readyz() -> Health:
        """Answer after a real inference on a built-in picture (cached for a few seconds)."""
        await readiness.check()
        return Health()

    @router.get("/version", summary="What runs here?")
    async def what_runs() -> Version:
        """Name the release, the models with their digests, and the threshold profile."""
        return version

    @router.get("/v1/keys", summary="Public keys")
    async def public_keys() -> PublicKeys:
        """Give the keys that verify signatures of verdicts and events."""
        return PublicKeys.model_validate(keyring.public_jwks())

    @router.get(
        "/metrics",
        summary="Prometheus metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def show_metrics() -> Response:
        """Show the counters in Prometheus' text format."""
        return metrics.response()

    return router
