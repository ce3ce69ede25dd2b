"""A writer to be killed: forks on demand, appends without end, and says what was acknowledged.

Run as ``python store_target.py``. For every line ``NUMBER URL`` on stdin a child is forked that
opens the store and appends from several tasks at once; each acknowledged key is a line on stdout.
Its first line is its process id.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from sqlalchemy import insert

from session_tracker.store.database import Database
from session_tracker.store.schema import programmes
from session_tracker.store.writer import NewEntry, Transaction


async def append_for_ever(url: str, round_: int) -> None:
    """Append entries, each with a row beside it, from eight tasks; say what is durable."""
    database = Database(url)
    await database.open()

    async def one(task: int) -> None:
        number = 0
        while True:
            key = f"{round_}.{task}.{number}"
            await database.write(lambda tx, key=key: both(tx, key))
            os.write(1, f"{key}\n".encode())
            number += 1

    await asyncio.gather(*(one(task) for task in range(8)))


async def both(tx: Transaction, key: str) -> None:
    """An entry of the ledger and a row of a table: both or neither."""
    row = {"name": key, "version": "1", "digest": "d", "document": "{}", "registered_ms": 1}
    await tx.connection.execute(insert(programmes), row)
    await tx.append([NewEntry(subject="s", key=key, kind="note", body=key.encode())])


def main() -> None:
    """Fork a writer for every line."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        number, url = line.split()
        if os.fork() == 0:
            os.write(1, f"{os.getpid()}\n".encode())
            asyncio.run(append_for_ever(url, int(number)))


if __name__ == "__main__":
    main()
