"""Stories: facts of sessions told in seconds, for the tests of the rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from session_tracker.credit import LearnerCredit, SessionCredit, SessionFacts, derive
from session_tracker.events import (
    Check,
    CheckCause,
    Closed,
    CloseReason,
    Disputed,
    Fact,
    Granted,
    Identity,
    Opened,
    Outcome,
    Paused,
    PauseReason,
    Playback,
    Presence,
    Resumed,
    Supervised,
    SystemFault,
    Upheld,
)
from session_tracker.explain import fate_of
from session_tracker.policy import Policy, load_policy
from session_tracker.segments import segments_of

NOON = 1_800_000_000_000
"""Friday, 15 January 2027, 16:00 in Shanghai."""


@dataclass
class Story:
    """Facts of one session; instants in seconds from `origin`."""

    policy: Policy
    session_id: str = "one"
    origin: int = NOON
    facts: list[Fact] = field(default_factory=list)

    def at(self, s: float) -> int:
        """Turn seconds of the story into UTC ms."""
        return self.origin + round(s * 1_000)

    def key(self) -> str:
        """Give the next key."""
        return f"{self.session_id}{len(self.facts):06d}"

    def opened(self, s: float = 0, *, begins: float | None = 0) -> Story:
        """Open the session; `begins`: when the player may run."""
        self.facts.append(Opened(key=self.key(), t=self.at(s)))
        return self if begins is None else self.resumed(begins)

    def resumed(self, s: float) -> Story:
        """Let the player go."""
        self.facts.append(Resumed(key=self.key(), t=self.at(s)))
        return self

    def paused(self, s: float, reason: PauseReason) -> Story:
        """Stop the player."""
        self.facts.append(Paused(key=self.key(), t=self.at(s), reason=reason))
        return self

    def closed(self, s: float) -> Story:
        """End the session."""
        self.facts.append(Closed(key=self.key(), t=self.at(s), reason=CloseReason.LEARNER))
        return self

    def frames(self, a: float, b: float, *, track: int = 1) -> Story:
        """Frames from `a` to `b` on one track; 0: without a face."""
        run = Presence(
            key=self.key(),
            t=self.at(a),
            end=self.at(b),
            track=track,
            faces_max=1 if track else 0,
            samples=max(1, round((b - a) / 5)),
        )
        self.facts.append(run)
        return self

    def sample(self, *instants: float, outcome: Outcome = Outcome.PASS, track: int = 1) -> Story:
        """Identity samples."""
        for s in instants:
            fact = Identity(key=self.key(), t=self.at(s), track=track, outcome=outcome)
            self.facts.append(fact)
        return self

    def check(
        self,
        since: float,
        s: float,
        outcome: Outcome = Outcome.PASS,
        *,
        cause: CheckCause = CheckCause.RANDOM,
        track: int = 1,
    ) -> Story:
        """A check on frames from `since` to `s`."""
        self.facts.append(
            Check(
                key=self.key(),
                t=self.at(s),
                since=self.at(since),
                cause=cause,
                track=track,
                outcome=outcome,
            )
        )
        return self

    def report(
        self,
        s: float,
        media_s: float,
        *,
        playing: bool = True,
        media: str = "m",
        interaction: bool = False,
    ) -> Story:
        """Report where the player is."""
        self.facts.append(
            Playback(
                key=self.key(),
                t=self.at(s),
                media_id=media,
                media_ms=round(media_s * 1_000),
                playing=playing,
                interaction=interaction,
            )
        )
        return self

    def plays(self, a: int, b: int, *, media_s: float = 0, media: str = "m") -> Story:
        """Play from `a` to `b` with a report every 15 s, beginning at `media_s`."""
        for s in range(a, b, 15):
            self.report(s, media_s + s - a, media=media)
        return self.report(b, media_s + b - a, playing=False, media=media)

    def granted(self, a: float, b: float) -> Story:
        """A reviewer grants."""
        self.facts.append(Granted(key=self.key(), t=self.at(a), end=self.at(b)))
        return self

    def disputed(self, a: float, b: float) -> Story:
        """A review is opened, or the learner appeals."""
        self.facts.append(Disputed(key=self.key(), t=self.at(a), end=self.at(b)))
        return self

    def upheld(self, a: float, b: float) -> Story:
        """A reviewer finds that it stays as it is."""
        self.facts.append(Upheld(key=self.key(), t=self.at(a), end=self.at(b)))
        return self

    def supervised(self, a: float, b: float) -> Story:
        """Staff confirm."""
        self.facts.append(Supervised(key=self.key(), t=self.at(a), end=self.at(b)))
        return self

    def fault(self, a: float, b: float) -> Story:
        """The service fails."""
        self.facts.append(SystemFault(key=self.key(), t=self.at(a), end=self.at(b)))
        return self

    def lesson(self, length: int) -> Story:
        """Open, play, show one face and close: everything but evidence."""
        return self.opened().frames(0, length).plays(0, length).closed(length)

    def given(self, *, provisional: bool = False, refused: bool = False) -> SessionFacts:
        """Hand the session over."""
        return SessionFacts(
            session_id=self.session_id,
            facts=tuple(self.facts),
            provisional=provisional,
            refused=refused,
        )

    def credit(self, *, now: float = 100_000) -> SessionCredit:
        """Derive the credit of this session alone."""
        (session,) = self.total(now=now).sessions
        return session

    def total(
        self,
        *others: Story,
        now: float = 100_000,
        provisional: bool = False,
        refused: bool = False,
    ) -> LearnerCredit:
        """Derive the credit of the learner from this session and others."""
        own = self.given(provisional=provisional, refused=refused)
        given = [own, *(o.given() for o in others)]
        return derive(given, self.policy, now=self.at(now))

    def credited(self, *, now: float = 100_000) -> list[tuple[float, float]]:
        """Give the credited intervals in seconds of the story."""
        spans = [(i.start, i.end) for i in self.credit(now=now).credited]
        return [((a - self.origin) / 1_000, (b - self.origin) / 1_000) for a, b in spans]

    def segments(self, *, now: float = 100_000) -> list[tuple[float, float, str]]:
        """Give the segments in seconds of the story: from, to, state with its reason."""
        cut = segments_of(self.credit(now=now), self.facts)
        return [
            ((s.start - self.origin) / 1_000, (s.end - self.origin) / 1_000, fate_of(s))
            for s in cut
        ]

    def void(self, *, now: float = 100_000) -> list[tuple[float, float, str]]:
        """Give the void intervals in seconds of the story."""
        return [
            ((i.start - self.origin) / 1_000, (i.end - self.origin) / 1_000, str(i.reason))
            for i in self.credit(now=now).void
        ]


@pytest.fixture(scope="session")
def policy() -> Policy:
    """Give the rules of the programme."""
    return load_policy("foshan-2021")


@pytest.fixture(scope="session")
def tell(policy: Policy) -> Callable[..., Story]:
    """Begin a story; give it a name (and a beginning in seconds) where there are several."""

    def begin(session_id: str = "one", *, after: float = 0) -> Story:
        return Story(policy, session_id, NOON + round(after * 1_000))

    return begin
