"""The sessions in memory, by id and by learner."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping

from session_tracker.live import Live


class Playing(MutableMapping[str, Live]):
    """Sessions by id, in the order in which they came; those of one learner are found at once."""

    def __init__(self) -> None:
        self._by_id: dict[str, Live] = {}
        self._by_learner: dict[str, dict[str, Live]] = {}

    def __getitem__(self, session_id: str) -> Live:
        return self._by_id[session_id]

    def __setitem__(self, session_id: str, live: Live) -> None:
        if session_id in self._by_id:
            del self[session_id]
        self._by_id[session_id] = live
        self._by_learner.setdefault(live.record.learner_id, {})[session_id] = live

    def __delitem__(self, session_id: str) -> None:
        live = self._by_id.pop(session_id)
        theirs = self._by_learner[live.record.learner_id]
        del theirs[session_id]
        if not theirs:
            del self._by_learner[live.record.learner_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_id)

    def __len__(self) -> int:
        return len(self._by_id)

    def of(self, learner_id: str) -> list[Live]:
        """Give a learner's sessions."""
        return list(self._by_learner.get(learner_id, {}).values())
