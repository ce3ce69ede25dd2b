"""What may be asked of a stream: requests that cannot be meant are named when they come."""

from __future__ import annotations

from verifier.errors import BadRequest
from verifier.types import ChallengeRequest, PresencePolicy


def check_challenge(request: ChallengeRequest) -> None:
    """Raise BadRequest where a challenge cannot be meant."""
    fits = (
        3 <= request.turns <= 16
        and 1 <= request.attempts <= 5
        and 5_000 <= request.window_ms <= 600_000
    )
    if not fits:
        raise BadRequest(
            f"The challenge cannot work: {request}.",
            remedy="Ask for 3 to 16 turns, 1 to 5 attempts, 5 to 600 seconds.",
        )


def check_policy(policy: PresencePolicy) -> None:
    """Raise BadRequest where a policy cannot be meant."""
    fits = (
        100 <= policy.sample_period_ms <= 600_000
        and 0.0 <= policy.identity_share <= 1.0
        and 1_000 <= policy.window_ms <= 600_000
        and 1 <= policy.check_frames <= 32
        and policy.sample_period_ms <= policy.gap_ms <= 600_000
        and 0 <= policy.away_yaw_deg <= 90
    )
    if not fits:
        raise BadRequest(
            f"The presence policy cannot work: {policy}.",
            remedy="Periods lie between 0.1 s and 600 s, the share between 0 and 1, the frames of "
            "a check between 1 and 32, and the gap is not below the sample period.",
        )
