"""Programme policies: complete, consistent, versioned."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import pytest

from session_tracker.policy import (
    SELF_MADE,
    Policy,
    Provenance,
    Training,
    load_policy,
    parse_policy,
    shipped_policies,
    stored_policy,
)
from verifier.errors import ConfigurationError

TEXT = (resources.files("session_tracker") / "policies" / "foshan-2021.toml").read_text("utf-8")


ACCEPTED = 'accepted = ["id_photo", "vetted_live", "self_live", "self_photo"]'


def changed(old: str, new: str) -> str:
    """Change the shipped policy; the old text has to be there."""
    assert old in TEXT
    return TEXT.replace(old, new, 1)


def test_foshan_holds_every_default_of_the_rules(policy: Policy) -> None:
    """The numbers of the rule table and of the notice, one by one."""
    assert policy.class_hour.seconds == 2_700
    assert policy.target_s(Training.INITIAL) == 43_200
    assert policy.target_s(Training.REFRESHER) == 21_600
    assert policy.daily_cap_s == 21_600
    assert policy.zone.key == "Asia/Shanghai"
    assert (policy.brackets.max_gap_s, policy.checks.force_after_s) == (120, 90)
    assert (policy.checks.answer_window_s, policy.checks.answer_retries) == (60, 1)
    assert (policy.brackets.absent_s, policy.brackets.no_evidence_s) == (15, 30)
    assert policy.playback.idle_s == 300
    assert (policy.network.tolerated_s, policy.network.closed_after_s) == (30, 120)
    assert (policy.lease.heartbeat_s, policy.lease.expiry_s) == (15, 120)
    assert len(policy.admission.refused_industries) == 5
    assert {p for p in Provenance if policy.is_provisional(p)} == SELF_MADE
    assert policy.course.repeat_after_days == 365


def test_the_stream_is_sampled_as_the_policy_says(policy: Policy) -> None:
    """The verifier's presence policy is made of the programme's numbers."""
    presence = policy.presence()
    assert presence.identity_share == pytest.approx(1 / 6)
    assert (presence.sample_period_ms, presence.window_ms, presence.gap_ms) == (
        5_000,
        25_000,
        12_000,
    )


def test_the_demo_keeps_the_rules_of_foshan(policy: Policy) -> None:
    """Only the length of a class hour, the targets and the cap in class hours differ."""
    demo = load_policy("demo")
    differ = {"name", "version", "title", "class_hour", "targets", "daily_cap"}
    assert demo.model_dump(exclude=differ) == policy.model_dump(exclude=differ)
    assert demo.target_s(Training.INITIAL) == 480
    assert shipped_policies() == ("demo", "foshan-2021", "sample")


def test_equal_content_has_an_equal_digest(policy: Policy) -> None:
    """Comments do not change the digest, a number does."""
    assert parse_policy(TEXT + "\n# a comment\n", source="x").digest == policy.digest
    other = parse_policy(changed("max_gap_s = 120", "max_gap_s = 121"), source="x")
    assert other.digest != policy.digest


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("max_gap_s = 120", "", "brackets.max_gap_s: Field required"),
        ("max_gap_s = 120", "max_gap_s = 120\nmin_gap_s = 3", "brackets.min_gap_s"),
        ("max_gap_s = 120", "max_gap_s = '120'", "brackets.max_gap_s"),
        ("max_gap_s = 120", "max_gap_s = 90", "force_after_s must be less"),
        ("challenge_share = 0.25", "challenge_share = 1.5", "checks.challenge_share"),
        ("challenge_turns = 4", "challenge_turns = 2", "checks.challenge_turns"),
        ("at_start = true", "at_start = false", "no first pass"),
        ("random_min_s = 20", "random_min_s = 400", "random_min_s < random_mean_s"),
        ('"Asia/Shanghai"', '"Asia/Foshan"', "not a known time zone"),
        ("closed_after_s = 120", "closed_after_s = 30", "network.tolerated_s"),
        ("heartbeat_s = 15", "heartbeat_s = 120", "lease.heartbeat_s"),
        ("suspicion_wait_s = 12", "suspicion_wait_s = 30", "suspicion_wait_s"),
        ("\ngap_s = 12", "\ngap_s = 4", "sampling.period_s < sampling.gap_s"),
        (ACCEPTED, 'accepted = ["id_photo"]', "names"),
        (', "self_photo"] # whoever', "] # whoever", "enrolment.provisional lacks"),
        ("repeat_after_days = 365", "", "course.repeat_after_days: Field required"),
        ("repeat_after_days = 365", "repeat_after_days = -1", "course.repeat_after_days"),
        ("rate = 1.0", "rate = 0.9", "playback.rate"),
        ("[network]", "[network", "not valid TOML"),
    ],
)
def test_holes_strangers_and_contradictions_are_refused(old: str, new: str, says: str) -> None:
    """Each is refused by the name of its field, with a remedy."""
    with pytest.raises(ConfigurationError) as refusal:
        parse_policy(changed(old, new), source="my.toml")
    assert says in refusal.value.detail
    assert "my.toml" in refusal.value.detail
    assert refusal.value.remedy


def test_rules_from_before_are_read_as_they_were_meant(policy: Policy) -> None:
    """A stored policy of an older release: no repeated course, and what learners sent waits."""
    old = policy.model_dump(mode="json")
    del old["course"]
    old["enrolment"]["accepted"] = ["id_photo", "vetted_live", "self_live"]
    old["enrolment"]["provisional"] = []
    read = stored_policy(json.dumps(old))
    assert read.course.repeat_after_days == 0
    assert set(read.enrolment.accepted) == set(Provenance)
    assert {p for p in Provenance if read.is_provisional(p)} == SELF_MADE
    assert stored_policy(policy.model_dump_json()) == policy


def test_a_policy_is_loaded_from_a_path(tmp_path: Path) -> None:
    """Another city loads another file."""
    file = tmp_path / "shunde.toml"
    file.write_text(changed('name = "foshan-2021"', 'name = "shunde"'), encoding="utf-8")
    assert load_policy(file).name == "shunde"


def test_a_missing_policy_is_named() -> None:
    """The error says what was looked for and what there is."""
    with pytest.raises(ConfigurationError) as refusal:
        load_policy("guangzhou")
    assert "guangzhou" in refusal.value.detail
    assert "foshan-2021" in refusal.value.remedy


def test_a_policy_that_extends_another_states_what_differs() -> None:
    """The sample programme has every rule of Foshan, but short hours, and a version of both."""
    below, sample = load_policy("foshan-2021"), load_policy("sample")
    assert sample.version == f"1-{below.version}"
    assert sample.checks == below.checks
    assert sample.brackets == below.brackets
    assert sample.target_s(Training.INITIAL) == 180
    assert sample.daily_cap.time_zone == below.daily_cap.time_zone


def test_a_policy_extends_only_what_comes_along() -> None:
    """A policy below that is not there is named."""
    with pytest.raises(ConfigurationError, match="'nowhere'"):
        parse_policy('extends = "nowhere"\nname = "x"\nversion = "1"', source="test")
