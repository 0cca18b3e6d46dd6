"""Settings of every process, read from environment variables named `LEDGER_...`.

No other module of `ledger`, `services` or `workers` reads the environment.
"""

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final, Literal, NamedTuple, cast

import msgspec
from msgspec import Meta, Struct, inspect

PREFIX: Final = "LEDGER_"
UNITS: Final = MappingProxyType({"ms": "milliseconds", "events": "events"})
"""Unit of a setting by the last word of its name. Other settings name theirs in `extra`."""

EXTRA_RIGHTS: Final[Mapping[str, str]] = MappingProxyType(
    {"moderator_key": "judge disputes and publish policies", "confidential_key": "read confidential events"}
)
"""Keys with one right more than the API key, and that right in words."""

Key = Annotated[str, Meta(min_length=16)]
Port = Annotated[int, Meta(ge=1, le=65_535)]


class SettingsError(Exception):
    """A variable is unknown, has a value that is not allowed, or contradicts another. Nothing was started."""


class BooksAddress(Struct, frozen=True):
    """Where the books are: a Postgres, and a schema in it."""

    dsn: str
    schema: str


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Field `x` is the variable `LEDGER_X`. A field carries everything that docs/settings.md shows of it."""

    postgres_dsn: Annotated[str, Meta(description="Connection URI of the Postgres database that holds the books.")] = (
        "postgresql://postgres@127.0.0.1:5432/postgres"
    )
    postgres_schema: Annotated[
        str,
        Meta(
            pattern=r"^[a-z][a-z0-9_]{0,39}$(?!\n)",
            description="Postgres schema of the books.",
            extra={"allowed": "a lower-case letter, then up to 39 lower-case letters, digits or `_`"},
        ),
    ] = "books"
    postgres_pool_max: Annotated[
        int,
        Meta(
            ge=1,
            le=500,
            description="Size of the connection pool that a service reads the books through.",
            extra={"unit": "connections"},
        ),
    ] = 8
    nats_url: Annotated[
        str, Meta(description="Address of a NATS server. It names the other servers of its cluster to the client.")
    ] = "nats://127.0.0.1:4222"
    nats_monitor_url: Annotated[
        str,
        Meta(
            description="Monitoring address of NATS, where the command service checks that the log fsyncs. "
            "For a cluster, list the address of every server, separated by commas."
        ),
    ] = "http://127.0.0.1:8222"
    log_replicas: Annotated[
        Literal[1, 3, 5],
        Meta(
            description="Number of NATS servers that store the log. A stream with another number is refused.",
            extra={"unit": "servers"},
        ),
    ] = 1
    unsafe_log: Annotated[
        bool,
        Meta(
            description="Serve although NATS does not report that it fsyncs an event before it acknowledges it. "
            "Acknowledged events may be lost."
        ),
    ] = False
    api_key: Annotated[
        Key | None,
        Meta(
            description="Bearer key for every route except health, metrics and documentation. "
            "Without it, a service refuses to listen on any but a loopback address, and requires no key there."
        ),
    ] = None
    moderator_key: Annotated[
        Key | None,
        Meta(
            description="Bearer key with the rights of `LEDGER_API_KEY` that may also judge disputes and publish "
            "policies. Without it, `LEDGER_API_KEY` alone gives nobody that right. "
            "It requires `LEDGER_API_KEY` and must differ from every other key."
        ),
    ] = None
    confidential_key: Annotated[
        Key | None,
        Meta(
            description="Bearer key with the rights of `LEDGER_API_KEY` that may also read the events that an asker "
            "must not see. Without it, `LEDGER_API_KEY` alone gives nobody that right. "
            "It requires `LEDGER_API_KEY` and must differ from every other key."
        ),
    ] = None
    host: Annotated[
        str, Meta(description="Address on which a service listens for HTTP, and a worker for requests for its metrics.")
    ] = "127.0.0.1"
    port: Annotated[Port, Meta(description="TCP port of a service.")] = 8080
    streams_max: Annotated[
        int,
        Meta(
            ge=0,
            le=1_500,
            description="Limit of clients that wait for events at the same time: streams and long polls together. "
            "A client beyond the limit receives status 503.",
            extra={"unit": "clients"},
        ),
    ] = 1_000
    projector_batch_max_events: Annotated[
        int, Meta(ge=1, le=10_000, description="Limit of events that the projector applies in one transaction.")
    ] = 6_000
    projector_linger_ms: Annotated[
        int,
        Meta(ge=0, le=1_000, description="Time that the projector waits for a batch to fill after its first event."),
    ] = 10
    projector_metrics_port: Annotated[
        Port | None, Meta(description="TCP port of the projector's metrics. Without it, the projector serves none.")
    ] = None
    clock_poll_ms: Annotated[
        int, Meta(ge=100, le=60_000, description="Pause of the clock between two searches for overdue deadlines.")
    ] = 1_000
    clock_metrics_port: Annotated[
        Port | None, Meta(description="TCP port of the clock's metrics. Without it, the clock serves none.")
    ] = None
    log_format: Annotated[
        Literal["console", "json"],
        Meta(description="Format of log lines: text for a terminal, or one JSON object per line."),
    ] = "console"

    @property
    def books(self) -> BooksAddress:
        return BooksAddress(self.postgres_dsn, self.postgres_schema)


class Setting(NamedTuple):
    """Documentation of one variable."""

    variable: str
    meaning: str
    unit: str
    """Empty for a setting that is not a quantity."""
    default: object
    """None for an optional variable."""
    allowed: str


def documented_settings() -> dict[str, Setting]:
    """Return the documentation of every setting by field name, in the order of declaration."""
    settings: dict[str, Setting] = {}
    for field in cast(inspect.StructType, inspect.type_info(Settings)).fields:
        described = cast(inspect.Metadata, field.type)
        schema = cast("dict[str, str]", described.extra_json_schema)
        extra = cast("dict[str, str]", described.extra or {})
        settings[field.name] = Setting(
            variable=variable_of(field.name),
            meaning=schema["description"],
            unit=extra.get("unit") or UNITS.get(field.name.rpartition("_")[2], ""),
            default=field.default,
            allowed=extra.get("allowed") or values_of(described.type),
        )
    return settings


def values_of(kind: inspect.Type) -> str:
    """Return the values of a field in words, as they are written in the environment."""
    match kind:
        case inspect.UnionType(types=types):
            return " or ".join(values_of(member) for member in types if not isinstance(member, inspect.NoneType))
        case inspect.IntType(ge=int(least), le=int(most)):
            return f"a whole number from {least} to {most}"
        case inspect.StrType(min_length=int(shortest)):
            return f"text of at least {shortest} characters"
        case inspect.StrType(min_length=None, max_length=None, pattern=None):
            return "text"
        case inspect.BoolType():
            return "`true`, `1`, `false` or `0`"
        case inspect.LiteralType(values=values):
            first, last = values[:-1], values[-1]
            return f"{', '.join(f'`{value}`' for value in first)} or `{last}`"
        case _:
            raise TypeError(f"no words for {kind}: add a case to values_of, or extra={{'allowed': ...}} to the setting")


def variable_of(field: str) -> str:
    return PREFIX + field.upper()


def settings_from(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings. An empty variable counts as unset.

    Raises: SettingsError. Its message names the variable, and never contains the value, which may be a key.
    """
    values = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environment.items()
        if name.startswith(PREFIX) and value != ""
    }
    unknown = sorted(values.keys() - set(Settings.__struct_fields__))
    if unknown:
        known = ", ".join(variable_of(field) for field in Settings.__struct_fields__)
        raise SettingsError(f"unknown variable {variable_of(unknown[0])}; the known variables are {known}")
    try:
        settings = msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        field = str(error).rpartition(" - at `$.")[2].rstrip("`")
        setting = documented_settings()[field]
        raise SettingsError(f"{setting.variable}: expected {setting.allowed}") from None
    require_distinct_keys(settings)
    return settings


def require_distinct_keys(settings: Settings) -> None:
    """Raises: SettingsError, if a key with an extra right is set without the API key, or equals another key."""
    owners = {settings.api_key: "api_key"} if settings.api_key is not None else {}
    for name, right in EXTRA_RIGHTS.items():
        key: str | None = getattr(settings, name)
        if key is None:
            continue
        if settings.api_key is None:
            raise SettingsError(
                f"{variable_of(name)} requires {variable_of('api_key')}: without it, every caller could {right}"
            )
        if owner := owners.get(key):
            callers = "every caller" if owner == "api_key" else f"a caller that may {EXTRA_RIGHTS[owner]}"
            raise SettingsError(
                f"{variable_of(name)} must differ from {variable_of(owner)}: {callers} could also {right}"
            )
        owners[key] = name
