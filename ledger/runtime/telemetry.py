"""Log lines for people or machines, and the metrics that every process serves at `/metrics`."""

import logging
import sys
from typing import Final, Literal

import structlog
from prometheus_client import Counter, Gauge, Histogram

REQUESTS: Final = Counter("ledger_http_requests", "HTTP requests, by route template.", ["method", "route", "status"])
REQUEST_SECONDS: Final = Histogram(
    "ledger_http_request_seconds",
    "Duration of an HTTP request, by route template.",
    ["route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
COMMANDS: Final = Counter("ledger_commands", "Commands decided, by outcome.", ["operation", "outcome"])
PROJECTED: Final = Counter("ledger_projected_events", "Events written to the books.")
PROJECTED_BATCHES: Final = Counter("ledger_projected_batches", "Transactions that wrote events to the books.")
POSITION: Final = Gauge("ledger_position", "Position of the books.")
STREAMS: Final = Gauge("ledger_feed_streams", "Feed subscribers that wait for events, each on a connection.")
STREAMS_CUT: Final = Counter("ledger_feed_streams_cut", "Feed subscribers disconnected because they did not read.")
LAG: Final = Gauge("ledger_lag_seconds", "Age of the newest event when it was written to the books.")
LAPSES_SENT: Final = Counter("ledger_clock_lapses_sent", "Lapse commands that the clock worker sent.")
LAPSES_RECORDED: Final = Counter("ledger_clock_lapses_recorded", "Lapses recorded by the clock worker.", ["kind"])
OVERDUE: Final = Gauge(
    "ledger_clock_overdue_seconds", "Time since the oldest deadline for which no lapse command was sent yet."
)


def configure_logs(form: Literal["console", "json"]) -> None:
    """Write log lines to standard error. Standard output is for the output of a command."""
    renderer = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
