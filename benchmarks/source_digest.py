"""The state of the code that turns pictures into numbers, as one digest.

Of each module counts what it does: not its comments, docstrings and blank lines, nor the words of
the errors that it raises. So a digest ages where scores may change, and not where prose does.
"""

from __future__ import annotations

import ast
import hashlib
import io
import tokenize
from importlib import resources
from typing import Final

CODE: Final = ("verifier.models", "verifier.models.prepare", "verifier.pipeline")
"""Packages whose source decides what comes out."""
NO_SCORES: Final = frozenset(
    {"batching", "comparison", "deadline", "decide", "download", "fairness", "fingerprint"}
    | {"installation", "landmarks", "licences", "manifest", "ports", "pose", "presence"}
    | {"lanes", "processors", "profile", "provenance", "queue", "room", "selftest", "store"}
    | {"prepared", "templates"}
)
"""Modules of them that no picture passes on its way to an embedding or a liveness score (`assess`
and `enrol`). What is not named here counts, so that new ones do."""


def code_version() -> str:
    """Give the digest: 16 hex digits, the same on every Python."""
    digest = hashlib.sha256()
    for package in CODE:
        files = [
            one
            for one in resources.files(package).iterdir()
            if one.name.endswith(".py") and one.name.removesuffix(".py") not in NO_SCORES
        ]
        for file in sorted(files, key=lambda one: one.name):
            source = what_it_does(file.read_text(encoding="utf-8"))
            digest.update(file.name.encode() + b"\0" + source.encode())
    return digest.hexdigest()[:16]


def what_it_does(source: str) -> str:
    """Strip a module of what computes nothing.

    The source itself is cut, by lines and columns: a syntax tree would be written differently by
    every version of Python.
    """
    lines = source.split("\n")
    for row, column in _comments(source):
        lines[row] = lines[row][:column]
    for node in _silent(ast.parse(source)):
        last = (node.end_lineno or node.lineno) - 1
        head = lines[node.lineno - 1].encode()[: node.col_offset].decode()
        lines[node.lineno - 1] = head + ("raise" if isinstance(node, ast.Raise) else "")
        for row in range(node.lineno, last + 1):
            lines[row] = ""
    return "\n".join(line.rstrip() for line in lines if line.strip())


def _comments(source: str) -> list[tuple[int, int]]:
    """Find where comments begin: line from 0, and column."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return [(one.start[0] - 1, one.start[1]) for one in tokens if one.type == tokenize.COMMENT]


def _silent(tree: ast.AST) -> list[ast.stmt]:
    """List strings that stand alone, and errors that are raised."""
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise)
        or (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        )
    ]
