"""What the demo tries out before the reader's eyes: the certificate holds, a changed byte shows.

The commands are run as anybody would run them, in processes of their own.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from benren.config import Config
from benren.demo.report import Proof
from verifier.errors import BenrenError

_LIMIT_S = 60
_CREDIT = re.compile(rb'"credited_ms":([1-8])[0-9]{3,}')
"""The first digit of a settlement's credit is the byte that is changed, to a 9."""


class NothingToForge(BenrenError):
    """The ledger has no settlement with credit that could be forged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgery:
    """The one byte that was changed."""

    offset: int
    """In the file."""
    was: bytes
    became: bytes
    """The changed part of the entry, before and after."""


def run_command(*arguments: str) -> tuple[int, str]:
    """Run `benren` without an operator's settings; gives the exit code and all that it said."""
    done = subprocess.run(  # noqa: S603 - our own interpreter, our own command
        [sys.executable, "-m", "benren.cli", *arguments],
        env={name: value for name, value in os.environ.items() if not name.startswith("BENREN_")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        timeout=_LIMIT_S,
        check=False,
    )
    return done.returncode, done.stdout.strip()


def prove(title: str, arguments: Sequence[str], *, expected: str, code: int) -> Proof:
    """Run a command and compare its exit code with what has to happen."""
    found, output = run_command(*arguments)
    return Proof(
        title=title,
        command=shlex.join(["benren", *arguments]),
        output=output,
        expected=expected,
        holds=found == code and "Traceback" not in output,  # an accident proves nothing
    )


def certificate_holds(certificate: Path, public_keys: Path) -> Proof:
    """Check the genuine learner's certificate with nothing but the public keys."""
    return prove(
        "The certificate holds",
        ["certificate", "verify", str(certificate), "--public-key", str(public_keys)],
        expected="The learner who studied reached the target. His certificate is checked offline, "
        "with the public keys alone: its signature, its check code, and the proof that his hours "
        "are in the ledger.",
        code=0,
    )


def changed_certificate_fails(certificate: Path, public_keys: Path) -> Proof:
    """Check a copy of the certificate that claims more class hours. Raises NothingToForge."""
    text = certificate.read_text(encoding="utf-8")
    forged_text = re.sub(r'("class_hours":)', r"\g<1>1", text, count=1)
    if forged_text == text:
        raise NothingToForge("The certificate states no class hours that could be forged.")
    forged = certificate.with_name("certificate-forged.json")
    forged.write_text(forged_text, encoding="utf-8")
    return prove(
        "A forged certificate fails",
        ["certificate", "verify", str(forged), "--public-key", str(public_keys)],
        expected="The same certificate with more class hours written into it: it must not pass.",
        code=1,
    )


def ledger_holds(config: Config) -> Proof:
    """Check the whole ledger as the lessons left it."""
    return prove(
        "The ledger is intact",
        ["ledger", "verify", "--data-dir", str(config.data_directory)],
        expected="Every hash is computed anew from the stored bytes and compared with the signed "
        "heads.",
        code=0,
    )


def changed_byte_shows(config: Config, place: Path) -> Proof:
    """Change one byte of a copy of the ledger, and check the copy."""
    altered = config.model_copy(update={"data_directory": place / "altered", "key_directory": None})
    shutil.copytree(config.keys, altered.keys)
    with (
        closing(sqlite3.connect(config.sqlite_file)) as source,
        closing(sqlite3.connect(altered.sqlite_file)) as copy,
    ):
        source.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")
    forgery = forge(altered.sqlite_file)
    return prove(
        "One changed byte is found",
        ["ledger", "verify", "--data-dir", str(altered.data_directory)],
        expected=f"In a copy of the database one byte of the file was changed, at "
        f"{forgery.offset}: where a settlement said {forgery.was.decode()}, it now says "
        f"{forgery.became.decode()}. It must be found.",
        code=1,
    )


def forge(database: Path) -> Forgery:
    """Make a settlement of a few minutes one of a quarter of an hour, by changing one byte.

    The file itself is changed: the database would refuse (its tables are append-only), but who
    owns the file can always do this. Raises NothingToForge.
    """
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute(
            "SELECT body FROM ledger_entries WHERE kind = 'settled' ORDER BY idx"
        ).fetchall()
    content = database.read_bytes()
    for (body,) in rows:
        start, credit = content.find(body), _CREDIT.search(body)
        if start < 0 or credit is None:
            continue
        within = credit.start(1)
        with database.open("r+b") as file:
            file.seek(start + within)
            file.write(b"9")
        was = credit.group()
        became = was.replace(b":" + credit[1], b":9", 1)
        return Forgery(offset=start + within, was=was, became=became)
    raise NothingToForge
