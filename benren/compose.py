"""The composition root: from settings to services that run, everything proven before a port opens.

The clock is an argument here and nowhere else: neither a route nor a setting can change the time.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benren.config import TURN_SECRET, VERIFIER_KEY
from benren.receivers import targets_of
from verifier.clock import Clock, SystemClock
from verifier.errors import ConfigurationError
from verifier.keys import ENVIRONMENT, KeyRing, create_key_directory

if TYPE_CHECKING:
    from fastapi import FastAPI

    from benren.config import Config
    from session_tracker.service import SessionService
    from verifier.pipeline.batching import Batcher
    from verifier.streaming.hub import StreamHub
    from verifier.types import StreamVerifier, TemplateComparer

_log = logging.getLogger("benren.compose")


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Services that run, behind one ASGI app. Call `stop` at the end."""

    app: FastAPI
    keyring: KeyRing
    tracker: SessionService | None
    """None in a verifier of its own."""
    hub: StreamHub | None
    """None in a tracker of its own."""
    batcher: Batcher | None
    endings: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    """What `stop` does, the last one first."""

    async def settled(self) -> None:
        """Return once nothing is left to do at this instant; for a clock moved by hand."""
        if self.hub is not None:
            await self.hub.settled()
        if self.tracker is not None:
            await self.tracker.settled()

    async def stop(self) -> None:
        """End the work in hand, and close what was opened; stopping twice is fine."""
        while self.endings:
            await self.endings.pop()()


async def build(
    config: Config, clock: Clock | None = None, *, environ: Mapping[str, str] | None = None
) -> Services:
    """Make and start the services that `config` asks for; secrets may come from `environ`.

    Models are proven and loaded, keys read, the database migrated, a picture judged. Raises
    BenrenError with the remedy where any of that fails; nothing is left open then.
    """
    from verifier.edge import ApiKeys, require_loopback_without_keys  # noqa: PLC0415

    clock = clock if clock is not None else SystemClock()
    require_loopback_without_keys(config.host, ApiKeys.parse(config.api_keys))
    environ = os.environ if environ is None else environ
    keyring = load_keys(config, clock, environ)
    endings: list[Callable[[], Awaitable[None]]] = []
    try:
        if config.only == "tracker":
            return await _tracker_alone(config, clock, keyring, environ, endings)
        return await _with_verifier(config, clock, keyring, environ, endings)
    except BaseException:
        for end in reversed(endings):
            await end()
        raise


def load_keys(config: Config, clock: Clock, environ: Mapping[str, str] | None = None) -> KeyRing:
    """Read the key ring; the first start of an embedded set-up makes one.

    Where a database is there already its keys must be too: templates open with no others.
    """
    environ = os.environ if environ is None else environ
    _make_data_directory(config)
    if environ.get(ENVIRONMENT) or config.keys.is_dir():
        return KeyRing.load(config.keys if config.keys.is_dir() else None, environ)
    if not config.database_url and config.sqlite_file.exists():
        raise ConfigurationError(
            f"There is a database {config.sqlite_file}, but no key directory {config.keys}.",
            remedy="Restore the keys from your backup; without them its templates stay closed.",
        )
    ring = create_key_directory(config.keys, clock)
    _log.warning("made new keys in %s: back them up, apart from the database", config.keys)
    return ring


def _make_data_directory(config: Config) -> None:
    try:
        config.data_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"The data directory {config.data_directory} cannot be made: {error.strerror}.",
            remedy="Name a place that this user may write, with --data-dir or data_directory.",
        ) from error


async def _with_verifier(
    config: Config,
    clock: Clock,
    keyring: KeyRing,
    environ: Mapping[str, str],
    endings: list[Callable[[], Awaitable[None]]],
) -> Services:
    from benren.inference import image_limits, load_inference  # noqa: PLC0415
    from verifier.api.app import Guests, batch_limits, create_app  # noqa: PLC0415
    from verifier.api.metrics import VerifierMetrics  # noqa: PLC0415
    from verifier.edge import HttpMetrics  # noqa: PLC0415
    from verifier.models.processors import available_processors  # noqa: PLC0415
    from verifier.pipeline.batching import Batcher  # noqa: PLC0415
    from verifier.pipeline.comparison import VaultComparer  # noqa: PLC0415
    from verifier.pipeline.intake import decode, decoded_bytes  # noqa: PLC0415
    from verifier.pipeline.templates import TemplateVault  # noqa: PLC0415
    from verifier.streaming.hub import StreamHub  # noqa: PLC0415
    from verifier.streaming.ice import ice_servers  # noqa: PLC0415
    from verifier.streaming.webrtc import Peers  # noqa: PLC0415
    from verifier.types import IceServer  # noqa: PLC0415

    engine, provider = load_inference(config)
    engine.warm_up()
    engine.self_test()
    limits = image_limits(config)
    metrics = HttpMetrics()
    counters = VerifierMetrics(metrics.registry)
    batcher = Batcher(
        engine,
        decode=lambda data: decode(data, limits),
        decoded_bytes=lambda data: decoded_bytes(data, limits),
        limits=batch_limits(config, available_processors(), engine.providers.values()),
        observer=counters,
    )
    endings.append(batcher.close)
    vault = TemplateVault(keyring, embedder=engine.models["embedder"], clock=clock)
    relays = [
        IceServer(urls=one.urls, username=one.username, credential=one.credential)
        for one in config.webrtc.ice_servers
    ]
    told = ice_servers(
        relays, secret=environ.get(TURN_SECRET, ""), life_s=config.webrtc.turn_life_s, clock=clock
    )
    hub = StreamHub(batcher, vault, keyring, clock=clock, ice_servers=told, observer=counters)
    embedder = engine.models["embedder"].partition("@")[0]
    threshold = engine.profile.for_embedder(embedder).threshold
    comparer = VaultComparer(vault, threshold=threshold)
    tracker = None
    guests = Guests()
    if config.only == "both":
        from benren.enrolling import LocalEnroller  # noqa: PLC0415
        from session_tracker.api.app import RULES, tracker_router  # noqa: PLC0415
        from session_tracker.consent_text import load_consent_text  # noqa: PLC0415

        tracker = await _start_tracker(
            config, clock, keyring, (hub, comparer), endings, environ=environ
        )
        routes = tracker_router(
            tracker,
            enroller=LocalEnroller(batcher, vault),
            consent_text=load_consent_text(config.consent_texts),
        )
        guests = Guests(
            routers=(routes,),
            rules=RULES,
            probes=(tracker.probe,),
            title="Benren",
            description="\nVerdicts in, hours out: the session tracker credits study time only "
            "where the registered person was seen.\n",
        )
    endings.append(hub.aclose)
    peers = None
    if config.webrtc.enabled:
        peers = Peers(hub, ice_servers=told() if config.webrtc.relay_here else ())
        endings.append(peers.aclose)
    app = create_app(
        batcher=batcher,
        vault=vault,
        keyring=keyring,
        clock=clock,
        settings=config,
        metrics=metrics,
        verifier_metrics=counters,
        hub=hub,
        comparer=comparer,
        peers=peers,
        providers=(provider,),
        guests=guests,
    )
    return Services(
        app=app, keyring=keyring, tracker=tracker, hub=hub, batcher=batcher, endings=endings
    )


async def _tracker_alone(
    config: Config,
    clock: Clock,
    keyring: KeyRing,
    environ: Mapping[str, str],
    endings: list[Callable[[], Awaitable[None]]],
) -> Services:
    from benren.enrolling import RemoteEnroller  # noqa: PLC0415
    from benren.remote import RemoteVerifier  # noqa: PLC0415
    from session_tracker.api.app import create_app  # noqa: PLC0415
    from session_tracker.consent_text import load_consent_text  # noqa: PLC0415
    from verifier.edge import ApiKeys, EdgeLimits  # noqa: PLC0415

    if not config.verifier_url:
        raise ConfigurationError(
            "A tracker of its own needs a verifier.",
            remedy="Name its address with --verifier-url or verifier_url.",
        )
    verifier_key = environ.get(VERIFIER_KEY, "")
    verifier = await RemoteVerifier.connect(config.verifier_url, clock=clock, api_key=verifier_key)
    endings.append(verifier.aclose)
    enroller = RemoteEnroller(config.verifier_url, api_key=verifier_key)
    endings.append(enroller.aclose)
    tracker = await _start_tracker(
        config, clock, keyring, (verifier, verifier), endings, environ=environ
    )
    app = create_app(
        tracker,
        enroller=enroller,
        consent_text=load_consent_text(config.consent_texts),
        api_keys=ApiKeys.parse(config.api_keys),
        limits=EdgeLimits(
            max_body_bytes=config.limits.max_body_bytes,
            max_held_bytes=config.limits.max_held_bytes,
            body_timeout_s=config.limits.body_timeout_s,
        ),
    )
    return Services(
        app=app, keyring=keyring, tracker=tracker, hub=None, batcher=None, endings=endings
    )


async def _start_tracker(
    config: Config,
    clock: Clock,
    keyring: KeyRing,
    verifier: tuple[StreamVerifier, TemplateComparer],
    endings: list[Callable[[], Awaitable[None]]],
    *,
    environ: Mapping[str, str],
) -> SessionService:
    from session_tracker.catalogue import load_catalogue  # noqa: PLC0415
    from session_tracker.learner_keys import LearnerKeys  # noqa: PLC0415
    from session_tracker.paper import Paper  # noqa: PLC0415
    from session_tracker.policy import load_policy  # noqa: PLC0415
    from session_tracker.published import PublishedHeads  # noqa: PLC0415
    from session_tracker.service import SessionService  # noqa: PLC0415
    from session_tracker.store.database import Database  # noqa: PLC0415

    policies = [load_policy(name) for name in config.policies]
    service = SessionService(
        webhooks=targets_of(config, environ),
        heads_file=None if config.heads_file is None else PublishedHeads(config.heads_file),
        clock=clock,
        verifier=verifier[0],
        comparer=verifier[1],
        database=Database(config.database),
        policies=policies,
        catalogue=load_catalogue(config.courses, programmes=[p.name for p in policies]),
        keyring=keyring,
        learner_keys=LearnerKeys(config.learner_keys, keyring, clock),
        paper=Paper(check_url=config.check_url, font=config.certificate_font),
    )
    endings.append(service.stop)
    await service.start()
    return service
