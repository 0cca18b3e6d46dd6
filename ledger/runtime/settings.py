"""The one reader of the environment: variables named `LEDGER_...`, a misspelt one is refused."""

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

PREFIX: Final = "LEDGER_"
MORE_THAN_API_KEY: Final[Mapping[str, str]] = MappingProxyType(
    {"moderator_key": "moderate", "confidential_key": "see what is confidential"}
)
"""Keys that may do more than the API key, and what."""


class SettingsError(Exception):
    """The environment says something that the ledger does not understand. Nothing was started."""


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Field `x` is the variable `LEDGER_X`. Units are in the names."""

    postgres_dsn: str = "postgresql://postgres@127.0.0.1:5432/postgres"
    postgres_schema: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,39}$(?!\n)")] = "books"
    postgres_pool_max: Annotated[int, Meta(ge=1, le=500)] = 8
    nats_url: str = "nats://127.0.0.1:4222"
    nats_monitor_url: str = "http://127.0.0.1:8222"
    """Of a cluster all of them, separated by commas: each is asked whether it fsyncs."""
    log_replicas: Literal[1, 3, 5] = 1
    unsafe_log: bool = False
    """Serve although the log does not say that it fsyncs before it acknowledges. Data may be lost."""
    api_key: Annotated[str, Meta(min_length=16)] | None = None
    """Guards everything but health and documentation. Without one, only loopback addresses are served."""
    moderator_key: Annotated[str, Meta(min_length=16)] | None = None
    """Lets in like `api_key`, and may judge disputes and publish policies besides. Needs an `api_key` beside it."""
    confidential_key: Annotated[str, Meta(min_length=16)] | None = None
    """Lets in like `api_key`, and is shown events that an asker must not know of. Needs an `api_key` beside it."""
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65535)] = 8080
    streams_max: Annotated[int, Meta(ge=0, le=1_500)] = 1_000
    """How many readers of the feed may wait at once, each on a connection of theirs."""
    projector_batch_max_events: Annotated[int, Meta(ge=1, le=10_000)] = 6_000
    projector_linger_ms: Annotated[int, Meta(ge=0, le=1_000)] = 10
    projector_metrics_port: Annotated[int, Meta(ge=1, le=65535)] | None = None
    clock_poll_ms: Annotated[int, Meta(ge=100, le=60_000)] = 1_000
    """How often the clock looks for deadlines that have passed."""
    clock_metrics_port: Annotated[int, Meta(ge=1, le=65535)] | None = None
    log_format: Literal["console", "json"] = "console"


def settings_from(environment: Mapping[str, str] = os.environ) -> Settings:
    """Raises: SettingsError, naming the variable."""
    given = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environment.items()
        if name.startswith(PREFIX) and value != ""
    }
    unknown = sorted(given.keys() - set(Settings.__struct_fields__))
    if unknown:
        known = ", ".join(PREFIX + field.upper() for field in Settings.__struct_fields__)
        raise SettingsError(f"unknown variable {PREFIX}{unknown[0].upper()}; known are {known}")
    try:
        settings = msgspec.convert(given, Settings, strict=False)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$.")
        raise SettingsError(f"{PREFIX}{path.rstrip('`').upper()}: {what}") from None
    require_keys_apart(settings)
    return settings


def require_keys_apart(settings: Settings) -> None:
    """Raises: SettingsError, when everybody could do what takes a key of its own, or one key what takes two."""
    owner = {settings.api_key: "api_key"} if settings.api_key is not None else {}
    for name, able in MORE_THAN_API_KEY.items():
        key: str | None = getattr(settings, name)
        if key is None:
            continue
        variable = PREFIX + name.upper()
        if settings.api_key is None:
            raise SettingsError(f"{variable} is set without {PREFIX}API_KEY: everybody could {able}")
        if key in owner:
            whose = owner[key]
            who = "everybody" if whose == "api_key" else f"whoever may {MORE_THAN_API_KEY[whose]}"
            raise SettingsError(f"{variable} is the {PREFIX}{whose.upper()}: {who} could {able}")
        owner[key] = name
