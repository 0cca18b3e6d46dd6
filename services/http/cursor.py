"""Cursors: opaque to the client, and valid only for one query of one community."""

import base64
from typing import Final

import msgspec
from msgspec import Struct

from ledger.domain.values.ids import MemberId
from services.http.problems import InvalidField

FORMAT_VERSION: Final = 3


class Cursor(Struct, frozen=True, array_like=True):
    """The content of a cursor. It grants nothing: the path and the key decide what may be read."""

    version: int
    query: str
    community: str
    after: str


def cursor_after(query: str, community: str, after: str) -> str:
    """Return the cursor of the next page. All pages of a list share `query`; the next one begins after `after`."""
    packed = msgspec.json.encode(Cursor(FORMAT_VERSION, query, community, after))
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def after_cursor(cursor: str | None, query: str, community: str) -> str:
    """Return the place after which the page begins; without a cursor, the empty string.

    Raises: InvalidField, if the cursor is malformed or of another list.

    The caller must validate the result, because a client can forge a cursor.
    """
    if cursor is None:
        return ""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        read = msgspec.json.decode(base64.b64decode(padded, altchars=b"-_", validate=True), type=Cursor)
    except (ValueError, msgspec.DecodeError):
        raise invalid_cursor() from None
    if (read.version, read.query, read.community) != (FORMAT_VERSION, query, community):
        raise invalid_cursor()
    return read.after


def member_after_cursor(cursor: str | None, query: str, community: str) -> str:
    """Return the member after whom the page begins; without a cursor, the empty string.

    Raises: InvalidField, if the cursor is malformed, of another list, or names no member.
    """
    after = after_cursor(cursor, query, community)
    if cursor is None:
        return after
    try:
        return msgspec.convert(after, MemberId)
    except msgspec.ValidationError:
        raise invalid_cursor() from None


def invalid_cursor() -> InvalidField:
    return InvalidField(field="cursor", source="query", reason="must be the `next` of an earlier page of this list")
