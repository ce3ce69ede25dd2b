"""The whole service for a browser: real models, real time, a short programme, loopback only."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from benren.client import BenrenClient
from benren.compose import Services, build
from benren.config import Config, load_settings
from benren.server import listening
from tests import virtual_learner

PROGRAMME: Final = "sample"
"""Its catalogue comes along: the sample lesson."""
TARGET_S: Final = 8
SHORT: Final = {
    "class_hour.seconds": 4,
    "targets.initial_class_hours": 2,
    "targets.refresher_class_hours": 1,
    "sampling.period_s": 1,
    "sampling.identity_one_in": 3,
    "sampling.gap_s": 6,
    "checks.challenge_turns": 3,
    "checks.frames_needed_s": 3,
    "checks.retry_after_s": 4,
    "checks.answer_window_s": 30,
    "checks.random_mean_s": 12,
    "checks.random_min_s": 6,
    "checks.random_max_s": 20,
    "lease.heartbeat_s": 3,
}
"""What differs from the sample's policy: lengths of time, and three turns instead of four. The time
for a challenge is two thirds of the real one, turn by turn: machines that test are busy."""


@dataclass(frozen=True, slots=True)
class Album:
    """Where the virtual learners' photographs and the networks lie."""

    faces_dir: Path
    pack_dir: Path

    def poses(self, name: str) -> dict[str, bytes]:
        """Give a person turned to every side, by pose."""
        return virtual_learner.poses(name, self.faces_dir, self.pack_dir)

    def id_photo(self, name: str) -> bytes:
        """Give another photograph of that person."""
        return virtual_learner.id_photo(name, self.faces_dir)


@dataclass(frozen=True, slots=True)
class Whole:
    """A service that runs, and its address."""

    url: str
    services: Services
    client: BenrenClient

    async def invite(self) -> tuple[str, str]:
        """Register a learner; gives his id and the path of his link.

        Each in a business of his own: one face in two accounts of a business is for staff to see.
        """
        learner_id = await self.client.register(
            category="principal",
            track="initial",
            industry="furniture",
            business_ref=f"biz-{secrets.token_hex(4)}",
        )
        return learner_id, await self.invite_again(learner_id)

    async def invite_again(self, learner_id: str) -> str:
        """Give another link to a learner, for another device."""
        invitation = await self._post(f"/v1/learners/{learner_id}/sign-in-codes")
        return f"{self.url}/learn/#t={invitation['link_token']}"

    async def enrol(self, learner_id: str, photo: bytes) -> None:
        """Enrol a learner as a registration desk does."""
        face = await self.client.enrol(learner_id, photo)
        await self.client.put_template(learner_id, face.template, provenance="id_photo")
        await self.approve(learner_id)

    async def approve(self, learner_id: str) -> None:
        """Approve a registration as staff do."""
        await self.client.approve(
            learner_id, reason="compared with the identity card", face_compared=True
        )

    async def facts(self, learner_id: str) -> list[dict[str, Any]]:
        """Give every fact of a learner's sessions, as the ledger has them."""
        course = await self.client.credit(learner_id, PROGRAMME)
        stories = [await self.client.explain(s["session_id"]) for s in course["sessions"]]
        return [fact for story in stories for fact in story["facts"]]

    async def _post(self, path: str) -> dict[str, Any]:
        return await self.client._tracker.ask("POST", path)


@asynccontextmanager
async def whole_service(
    place: Path,
    pack_dir: Path,
    changes: dict[str, object] | None = None,
    *,
    base: Mapping[str, object] = SHORT,
    courses: tuple[str, ...] = (),
    api_keys: tuple[str, ...] = (),
    secret: str = "",
) -> AsyncIterator[Whole]:
    """Start the service with a short programme; WebRTC stays on loopback.

    The programme is the sample's with `base` and `changes`; of `api_keys` the `secret` is the
    client's.
    """
    policy = place / "short.toml"
    policy.write_text(short_policy({**base, **(changes or {})}), encoding="utf-8")
    config = load_settings(
        Config,
        data_directory=place / "data",
        port=0,
        policies=(str(policy),),
        courses=courses,
        api_keys=api_keys,
    )
    with pytest.MonkeyPatch.context() as patch:
        # aioice leaves loopback out, and the tests must not use anything else.
        patch.setenv("BENREN_MODELS", str(pack_dir))
        patch.setattr("aioice.ice.get_host_addresses", lambda **_: ["127.0.0.1"])
        services = await build(config, environ={})
        try:
            async with listening(services.app) as url, BenrenClient(url, api_key=secret) as client:
                yield Whole(url, services, client)
        finally:
            await services.stop()


def short_policy(changes: Mapping[str, object]) -> str:
    """Write a policy that extends the sample's."""
    lines = ['extends = "sample"', f'name = "{PROGRAMME}"', 'version = "browser"']
    lines.append('title = "短课程 Short course"')
    sections: dict[str, list[str]] = {}
    for key, value in changes.items():
        section, _, name = key.partition(".")
        sections.setdefault(section, []).append(f"{name} = {str(value).lower()}")
    for section, values in sections.items():
        lines += ["", f"[{section}]", *values]
    return "\n".join(lines)
