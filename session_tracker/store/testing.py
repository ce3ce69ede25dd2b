"""For tests and benchmarks: a PostgreSQL server of one's own on loopback, gone when it is closed.

Nothing of it outlives the process that asked for it: the folder is temporary, the port is free at
the time, and only this machine may connect. As root, the server runs as the user ``postgres``,
since PostgreSQL refuses to be root.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine

from session_tracker.store.database import Database
from session_tracker.store.schema import APPEND_ONLY
from verifier.errors import ConfigurationError

_PLACES: Final = (Path("/usr/lib/postgresql"), Path("/usr/local/pgsql"), Path("/opt/homebrew"))
_START_WITHIN_S: Final = 30
_OPTIONS: Final = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "60",
    "shared_buffers": "64MB",
    "dynamic_shared_memory_type": "mmap",  # containers often have no room in /dev/shm
    "log_min_messages": "warning",
}
_INITDB: Final = ("-U", "benren", "-A", "trust", "-E", "UTF8", "--no-locale")
_PR_SET_PDEATHSIG: Final = 1
_CARELESS: Final = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def find_postgres() -> Path | None:
    """Give the folder of ``initdb``, the newest where there are several; None without any."""
    for place in _PLACES:
        found = sorted(place.glob("*/bin/initdb"), key=_version)
        if found:
            return found[-1].parent
    named = shutil.which("initdb")
    return None if named is None else Path(named).resolve().parent


def _version(initdb: Path) -> tuple[int, str]:
    name = initdb.parent.parent.name
    return (int(name) if name.isdigit() else 0, name)


class PostgresServer:
    """One PostgreSQL server. Without `durable` it forgets what a crash interrupts, and is fast."""

    def __init__(self, *, durable: bool = False, options: Mapping[str, str] | None = None) -> None:
        found = find_postgres()
        if found is None:
            raise ConfigurationError(
                "PostgreSQL's server programs are not installed.",
                remedy="Install the package postgresql of your distribution.",
            )
        self._programs = found
        self._user = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
        self._settings = {**_OPTIONS, **({} if durable else _CARELESS), **(options or {})}
        self._numbers = count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self.folder = Path(tempfile.mkdtemp(prefix="benren-pg-"))
        self.port = _free_port()
        if self._user is not None:
            os.chown(self.folder, self._user.pw_uid, self._user.pw_gid)
        try:
            self._run("initdb", "-D", "data", *_INITDB)
            self.start()
        except BaseException:
            self.close()
            raise

    def url(self, name: str) -> str:
        """Give the address of a database."""
        return f"postgresql://benren@127.0.0.1:{self.port}/{name}"

    def create(self, *, template: str = "template0") -> str:
        """Make a database like another one that nobody uses; returns its name."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def drop(self, name: str) -> None:
        """Remove a database, whoever uses it."""
        self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def execute(self, *statements: str, database: str = "postgres") -> str:
        """Run statements as the superuser; returns what psql prints, bare."""
        command = [f"--port={self.port}", "--host=127.0.0.1", "--username=benren", "-XAtq"]
        given = [part for statement in statements for part in ("-c", statement)]
        return self._run("psql", *command, "-v", "ON_ERROR_STOP=1", "-d", database, *given).strip()

    def start(self) -> None:
        """Start the server, and wait until it has recovered and answers."""
        options = {**self._settings, "port": str(self.port), "unix_socket_directories": "."}
        given = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own words
                [self._programs / "postgres", "-D", str(self.folder / "data"), *given],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - one call into the kernel, no lock
                **self._identity(),
            )
        deadline = time.monotonic() + _START_WITHIN_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise ConfigurationError(f"PostgreSQL did not start: {self._log()}")
            time.sleep(0.02)

    def crash(self) -> None:
        """SIGKILL the server and all its children: what a power cut is to the processes."""
        if self._process is not None:
            for pid in [*_children(self._process.pid), self._process.pid]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
            (self.folder / "data" / "postmaster.pid").unlink(missing_ok=True)

    def close(self) -> None:
        """End the server and remove everything."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self.crash()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> PostgresServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answers(self) -> bool:
        try:
            self.execute("SELECT 1")
        except ConfigurationError:
            return False
        return True

    def _run(self, program: str, *arguments: str) -> str:
        done = subprocess.run(  # noqa: S603 - our own words
            [self._programs / program, *arguments],
            cwd=self.folder,
            check=False,
            capture_output=True,
            text=True,
            **self._identity(),
        )
        if done.returncode:
            raise ConfigurationError(f"{program} failed: {done.stderr.strip()[-500:]}")
        printed: str = done.stdout
        return printed

    def _identity(self) -> dict[str, Any]:
        if self._user is None:
            return {}
        return {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}

    def _log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-500:]


def _die_with_parent() -> None:
    """Have the kernel end this process with the thread that made it, however that ends (Linux)."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)


def _children(pid: int) -> list[int]:
    """Give the processes that `pid` started; every backend has a session of its own."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid:
                found.append(int(stat.parent.name))
    return found


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        return int(bound.getsockname()[1])


async def tamper(url: str, *statements: str | tuple[str, Mapping[str, object]]) -> None:
    """Change what cannot be changed, as somebody does who owns the database: without triggers."""
    database = Database(url)
    engine = create_async_engine(database.url)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_unprotect)
            for statement in statements:
                words, values = (statement, {}) if isinstance(statement, str) else statement
                await connection.execute(text(words), dict(values))
    finally:
        await engine.dispose()


def _unprotect(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        for table in APPEND_ONLY:
            connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        return
    query = text("SELECT name FROM sqlite_master WHERE type = 'trigger'")
    for name in connection.scalars(query).all():
        connection.execute(text(f'DROP TRIGGER "{name}"'))


__all__ = ["PostgresServer", "find_postgres", "tamper"]
