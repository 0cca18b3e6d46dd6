"""Cursors: opaque to the client, and valid only for the query and the community that made them."""

import base64
from typing import Final

import msgspec
from msgspec import Struct

from ledger.domain.values.ids import MemberId
from services.http.problems import InvalidField

FORM: Final = 3


class Cursor(Struct, frozen=True, array_like=True):
    """The content of a cursor. It grants nothing: the path and the key decide what may be read."""

    form: int
    query: str
    community: str
    after: str


def cursor_after(query: str, community: str, after: str) -> str:
    """Return the cursor of the next page. All pages of a list share `query`; the next one begins after `after`."""
    packed = msgspec.json.encode(Cursor(FORM, query, community, after))
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def after_cursor(cursor: str | None, query: str, community: str) -> str:
    """Return where the page begins; without a cursor, the empty string.

    Raises: InvalidField, for a cursor of another list or a malformed one. A client may forge `after`: callers parse it.
    """
    if cursor is None:
        return ""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        read = msgspec.json.decode(base64.b64decode(padded, altchars=b"-_", validate=True), type=Cursor)
    except (ValueError, msgspec.DecodeError):
        raise not_of_this_list() from None
    if (read.form, read.query, read.community) != (FORM, query, community):
        raise not_of_this_list()
    return read.after


def member_after_cursor(cursor: str | None, query: str, community: str) -> str:
    """Return the member after whom the page begins; without a cursor, the empty string.

    Raises: InvalidField.
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
