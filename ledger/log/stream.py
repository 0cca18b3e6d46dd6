"""The definition of the stream `LEDGER`, and its comparison with the stream on the server."""

from typing import Any, Final

from ledger.log.connection import Connection
from ledger.log.event_log import LogUnavailable
from ledger.log.message import ALL_SUBJECTS

STREAM: Final = "LEDGER"
NOT_FOUND: Final = 10059  # JetStream's error code if a stream does not exist,
NO_MESSAGE: Final = 10037  # and if a message does not exist.


class StreamMissing(Exception):
    """The stream does not exist. It may be lost, so only `referral-ledger provision` creates one."""


class StreamDrift(Exception):
    """The stream differs from its definition. Nothing was changed, and no service uses it."""


def stream_definition(replicas: int) -> dict[str, Any]:
    """Return the configuration that the ledger relies on. No event expires, and a full stream refuses new events."""
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


def find_drift(config: dict[str, Any], replicas: int) -> list[str]:
    """Return the differences between the stream on the server and its definition, one sentence each."""
    differences = [
        f"{field} is {config.get(field, type(expected)())!r} and must be {expected!r}"
        for field, expected in stream_definition(replicas).items()
        if config.get(field, type(expected)()) != expected
    ]
    if (mode := config.get("persist_mode", "default")) != "default":
        differences.append(f"persist_mode is {mode!r} and must be 'default': acknowledged events could be lost")
    return differences + [
        f"{field} is set and must not be: the stream must contain exactly the messages published to it"
        for field in ("mirror", "sources", "subject_transform", "republish", "sealed")
        if config.get(field)
    ]


async def require_stream(connection: Connection, replicas: int) -> None:
    """Raises: StreamMissing; StreamDrift, with every difference; LogUnavailable."""
    reply = await connection.api(f"STREAM.INFO.{STREAM}")
    if reply.get("error", {}).get("err_code") == NOT_FOUND:
        raise StreamMissing(f"the stream {STREAM} does not exist: run `referral-ledger provision`")
    require_as_defined(reply, replicas)


async def provision(connection: Connection, replicas: int) -> bool:
    """Create the stream if it does not exist, and return whether it was created.

    Raises: StreamDrift, with every difference; LogUnavailable.
    """
    try:
        await require_stream(connection, replicas)
    except StreamMissing:
        reply = await connection.api(f"STREAM.CREATE.{STREAM}", stream_definition(replicas))
        require_as_defined(reply, replicas)
        return True
    return False


def require_as_defined(reply: dict[str, Any], replicas: int) -> None:
    """Raises: StreamDrift or LogUnavailable, according to the server's reply about the stream."""
    if "error" in reply:
        raise LogUnavailable(f"stream {STREAM}: {reply['error']['description']}")
    if differences := find_drift(reply["config"], replicas):
        raise StreamDrift(f"stream {STREAM} differs from its definition: " + "; ".join(differences))
