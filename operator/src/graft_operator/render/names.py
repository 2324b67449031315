"""Names of children: they follow from the object's uid and the child's role, so that a pass which died is found again by the next one."""

import hashlib

__all__ = ["arm_name", "child_name"]

HASH_LENGTH = 8
"""Hex digits of a name's hash: 32 bits, ample among the children of one name."""

ROOM_FOR_NAME = 40
"""Of the 63 characters that RFC 1123 leaves for a label, those of the object's own name; the rest is role, hash and dashes."""


def child_name(name: str, uid: str, role: str) -> str:
    """Name the check or train child: `<name>-<role>-<hash of uid and role>`.

    An object that is deleted and made again under its old name has a new uid, so it never finds the old one's children.
    """
    return f"{_cut(name)}-{role}-{_hash(uid, role)}"


def arm_name(name: str, uid: str, revision: str) -> str:
    """Name the arm of a revision: `<name>-<revision>-<hash of uid and revision>`."""
    return f"{_cut(name)}-{revision}-{_hash(uid, revision)}"


def _cut(name: str) -> str:
    # A cut must not leave a dash at the end: two dashes in a row are legal, but read like a missing word.
    return name[:ROOM_FOR_NAME].rstrip("-")


def _hash(*parts: str) -> str:
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:HASH_LENGTH]
