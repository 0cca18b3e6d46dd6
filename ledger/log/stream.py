"""The definition of the stream `LEDGER`, held against what the server has."""

from typing import Any, Final

from ledger.log.connection import Connection
from ledger.log.event_log import LogUnavailable
from ledger.log.message import ALL_SUBJECTS

STREAM: Final = "LEDGER"
NOT_FOUND: Final = 10059
NO_MESSAGE: Final = 10037


class StreamMissing(Exception):
    """There is no stream. Nobody makes one but `referral-ledger provision`: it may have been lost."""


class StreamDrift(Exception):
    """The stream is not as defined. Nothing was changed, and nothing is served on it."""


def stream_definition(replicas: int) -> dict[str, Any]:
    """What the ledger relies on. Events are kept for ever: nothing ages, and when it is full it says no."""
    return {
        "name": STREAM,
        "subjects": [ALL_SUBJECTS],
        "storage": "file",
        "retention": "limits",
        "discard": "new",
        "max_age": 0,
        "max_msgs": -1,
        "max_bytes": -1,
        "max_msgs_per_subject": -1,
        "num_replicas": replicas,
        "allow_direct": True,
        "allow_atomic": True,
        "deny_purge": True,
        "deny_delete": True,
        "allow_rollup_hdrs": False,
        "allow_msg_ttl": False,
        "no_ack": False,
    }


def find_drift(found: dict[str, Any], replicas: int) -> list[str]:
    """What the server has otherwise than defined, one sentence each."""
    wanted = stream_definition(replicas)
    sentences = [
        f"{field} is {found.get(field, type(want)())!r} and must be {want!r}"
        for field, want in wanted.items()
        if found.get(field, type(want)()) != want
    ]
    if found.get("persist_mode", "default") != "default":
        sentences.append(f"persist_mode is {found['persist_mode']!r}: it acknowledges what it may lose")
    return sentences + [
        f"{field} is set: the stream must hold what is published to it, and only that"
        for field in ("mirror", "sources", "subject_transform", "republish", "sealed")
        if found.get(field)
    ]


async def require_stream(connection: Connection, replicas: int) -> None:
    """Raises: StreamMissing; StreamDrift, saying what differs; LogUnavailable."""
    answer = await connection.api(f"STREAM.INFO.{STREAM}")
    if answer.get("error", {}).get("err_code") == NOT_FOUND:
        raise StreamMissing(f"the stream {STREAM} is not there: run `referral-ledger provision`")
    require_as_defined(answer, replicas)


async def provision(connection: Connection, replicas: int) -> bool:
    """Create the stream when it is missing; answers whether it was.

    Raises: StreamDrift, saying what differs; LogUnavailable.
    """
    try:
        await require_stream(connection, replicas)
    except StreamMissing:
        answer = await connection.api(f"STREAM.CREATE.{STREAM}", stream_definition(replicas))
        require_as_defined(answer, replicas)
        return True
    return False


def require_as_defined(answer: dict[str, Any], replicas: int) -> None:
    """Raises: StreamDrift or LogUnavailable, by what the server answers of the stream."""
    if "error" in answer:
        raise LogUnavailable(f"stream {STREAM}: {answer['error']['description']}")
    if differences := find_drift(answer["config"], replicas):
        raise StreamDrift(f"stream {STREAM} is not as the ledger needs it: " + "; ".join(differences))
