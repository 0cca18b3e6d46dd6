"""Cursors: opaque to the caller, and good only for the query and the community that made them."""

import base64
import binascii
from typing import Final

import msgspec
from msgspec import Struct

from services.http.problems import InvalidField

FORM: Final = 1


class Cursor(Struct, frozen=True, array_like=True):
    form: int
    query: str
    community: str
    after: str


def cursor_after(query: str, community: str, after: str) -> str:
    packed = msgspec.json.encode(Cursor(FORM, query, community, after))
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def after_cursor(cursor: str | None, query: str, community: str) -> str:
    """Where the page begins; the beginning, without a cursor.

    Raises: InvalidField, for one that was made elsewhere or tampered with.
    """
    if cursor is None:
        return ""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        read = msgspec.json.decode(base64.b64decode(padded, altchars=b"-_", validate=True), type=Cursor)
    except (ValueError, binascii.Error, msgspec.DecodeError):
        read = None
    if read is None or (read.form, read.query, read.community) != (FORM, query, community):
        raise InvalidField(field="cursor", source="query", reason="not a cursor of this list")
    return read.after
