"""Cursors: opaque to the caller, and good only for the query and the community that made them."""

import base64
from hashlib import blake2b
from typing import Final

import msgspec
from msgspec import Struct

from ledger.domain.values.ids import MemberId
from services.http.problems import InvalidField

FORM: Final = 2
SEAL_BYTES: Final = 9


class Cursor(Struct, frozen=True, array_like=True):
    form: int
    query: str
    community: str
    after: str


def cursor_after(query: str, community: str, after: str) -> str:
    """`query` says all that the pages of one list have in common; `after` is the place where the next one begins."""
    packed = msgspec.json.encode(Cursor(FORM, query, community, after))
    return spelt(seal(packed) + packed)


def after_cursor(cursor: str | None, query: str, community: str) -> str:
    """Where the page begins; the beginning, without a cursor.

    Raises: InvalidField, for one that was made elsewhere or tampered with.
    """
    if cursor is None:
        return ""
    read = None
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        unpacked = base64.b64decode(padded, altchars=b"-_", validate=True)
        sealed, packed = unpacked[:SEAL_BYTES], unpacked[SEAL_BYTES:]
        if sealed == seal(packed) and spelt(unpacked) == cursor:  # The last letter could be another, and say the same.
            read = msgspec.json.decode(packed, type=Cursor)
    except (ValueError, msgspec.DecodeError):
        pass
    if read is None or (read.form, read.query, read.community) != (FORM, query, community):
        raise not_of_this_list()
    return read.after


def member_after_cursor(cursor: str | None, query: str, community: str) -> str:
    """The member whom the page begins after; nobody, without a cursor.

    Raises: InvalidField. Anybody may make a cursor: it is sealed, and not signed.
    """
    after = after_cursor(cursor, query, community)
    if cursor is None:
        return after
    try:
        return msgspec.convert(after, MemberId)
    except msgspec.ValidationError:
        raise not_of_this_list() from None


def not_of_this_list() -> InvalidField:
    return InvalidField(field="cursor", source="query", reason="not a cursor of this list")


def spelt(unpacked: bytes) -> str:
    return base64.urlsafe_b64encode(unpacked).rstrip(b"=").decode()


def seal(packed: bytes) -> bytes:
    """What shows that a cursor is as it was made. It hides nothing: what may be read, the path and the key decide."""
    return blake2b(packed, digest_size=SEAL_BYTES, person=b"cursor").digest()
