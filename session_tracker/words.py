"""What the codes of the credit rules are in plain words, in Chinese and English."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from session_tracker.events import VoidReason
from session_tracker.segments import SegmentState


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """One code in words that a learner understands."""

    zh: str
    en: str


_R = VoidReason

REASONS: Final[Mapping[VoidReason, Words]] = MappingProxyType(
    {
        _R.BEFORE_FIRST_PASS: Words(zh="尚未确认是您本人", en="You had not been recognised yet."),
        _R.AFTER_LAST_PASS: Words(
            zh="最后一次确认之后的时间不计", en="After you were last recognised."
        ),
        _R.PENDING: Words(zh="等待下一次确认", en="Counts as soon as you are recognised again."),
        _R.MAX_GAP: Words(zh="太久没有确认到您本人", en="You were not recognised for too long."),
        _R.TRACK_BREAK: Words(
            zh="画面中的人脸中断", en="The face in the picture was lost in between."
        ),
        _R.MISMATCH: Words(
            zh="画面中的人与登记的照片不符",
            en="The person in the picture did not match the enrolled face.",
        ),
        _R.SPOOF: Words(zh="画面看起来不是真人", en="The picture did not look like a live person."),
        _R.UNANSWERED: Words(zh="没有完成动作验证", en="A challenge was not answered."),
        _R.NO_EVIDENCE: Words(
            zh="看不清您的脸（遮挡、太暗或模糊）",
            en="Your face could not be seen well (covered, dark or blurred).",
        ),
        _R.ABSENT: Words(zh="画面中没有人", en="Nobody was in the picture."),
        _R.NETWORK_GAP: Words(zh="网络中断", en="The connection was interrupted."),
        _R.SYSTEM_ERROR: Words(
            zh="系统故障，将由人工审核", en="A fault of ours: it will be looked at by staff."
        ),
        _R.NOT_PLAYING: Words(zh="课程没有播放", en="The lesson was not playing."),
        _R.IDLE: Words(
            zh="长时间没有任何操作或播放", en="Nothing moved and nothing was touched for long."
        ),
        _R.LOOKING_AWAY: Words(
            zh="长时间没有看屏幕", en="You looked away from the screen for long."
        ),
        _R.MEDIA_REPEATED: Words(
            zh="这段课程已经计过学时", en="This part of the lesson was counted before."
        ),
        _R.MEDIA_TOO_FAST: Words(zh="课程快进或跳过", en="The lesson was skipped or ran too fast."),
        _R.PARALLEL_SESSION: Words(
            zh="同时在另一台设备上学习", en="You studied on another device at the same time."
        ),
        _R.DAILY_CAP: Words(
            zh="已达到当天学时上限", en="The most that one day can bring was reached."
        ),
        _R.PROVISIONAL: Words(
            zh="等待登记照片的核实", en="Waits until your enrolled picture is confirmed."
        ),
        _R.ENROLMENT_REFUSED: Words(
            zh="登记照片未通过审核", en="The enrolled picture was refused by staff."
        ),
    }
)

STATES: Final[Mapping[SegmentState, Words]] = MappingProxyType(
    {
        SegmentState.PENDING: Words(zh="待定", en="pending"),
        SegmentState.CREDITED: Words(zh="已计学时", en="credited"),
        SegmentState.VOID: Words(zh="不计学时", en="not credited"),
        SegmentState.DISPUTED: Words(zh="待审核", en="under review"),
        SegmentState.GRANTED: Words(zh="审核后计入", en="granted by a reviewer"),
        SegmentState.UPHELD: Words(zh="审核后维持", en="decision upheld by a reviewer"),
    }
)
