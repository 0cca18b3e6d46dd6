"""Log lines: for people or for machines, on standard error, at level INFO and above."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest
import structlog

from ledger.runtime.telemetry import configure_logs


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def lines(form: Literal["console", "json"], capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the lines of two events, one of them with an exception."""
    configure_logs(form)
    log = structlog.get_logger()
    log.debug("not worth a line")
    log.info("applied", position=7)
    try:
        raise ValueError("broken")
    except ValueError:
        log.exception("failed")
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def test_for_machines_every_line_is_an_object(capsys: pytest.CaptureFixture[str]) -> None:
    applied, failed = map(json.loads, lines("json", capsys))
    at = datetime.fromisoformat(applied.pop("timestamp"))
    assert datetime.now(UTC) - at < timedelta(minutes=1)
    assert applied == {"event": "applied", "level": "info", "position": 7}
    assert (failed["event"], failed["level"]) == ("failed", "error")
    assert "ValueError: broken" in failed["exception"]


def test_for_people_the_line_says_it_and_has_no_colours_off_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    applied, failed, *trace = lines("console", capsys)
    assert "applied" in applied
    assert "position=7" in applied
    assert "failed" in failed
    assert "ValueError: broken" in trace[-1]
    assert "\x1b" not in "".join([applied, failed, *trace])


def test_what_is_bound_to_the_context_is_in_every_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("json")
    with structlog.contextvars.bound_contextvars(request_id="r-1"):
        structlog.get_logger().warning("slow")
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["level"], line["request_id"]) == ("slow", "warning", "r-1")
