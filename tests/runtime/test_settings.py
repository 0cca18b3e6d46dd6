"""Settings are read from the environment by name. A wrong variable is refused, and the error names it."""

import re
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest

from ledger.runtime.settings import (
    EXTRA_RIGHTS,
    PREFIX,
    Settings,
    SettingsError,
    documented_settings,
    settings_from,
    values_of,
)
from services.http.auth import KEY_SCOPES

ALL = {
    "LEDGER_POSTGRES_DSN": "postgresql://books.example/ledger",
    "LEDGER_POSTGRES_SCHEMA": "books_2",
    "LEDGER_POSTGRES_POOL_MAX": "20",
    "LEDGER_NATS_URL": "nats://log.example:4222",
    "LEDGER_NATS_MONITOR_URL": "http://log.example:8222",
    "LEDGER_LOG_REPLICAS": "3",
    "LEDGER_UNSAFE_LOG": "1",
    "LEDGER_API_KEY": "0123456789abcdef",
    "LEDGER_MODERATOR_KEY": "fedcba9876543210",
    "LEDGER_CONFIDENTIAL_KEY": "0f1e2d3c4b5a6978",
    "LEDGER_HOST": "::1",
    "LEDGER_PORT": "65535",
    "LEDGER_STREAMS_MAX": "1500",
    "LEDGER_PROJECTOR_BATCH_MAX_EVENTS": "10000",
    "LEDGER_PROJECTOR_LINGER_MS": "0",
    "LEDGER_PROJECTOR_METRICS_PORT": "9100",
    "LEDGER_CLOCK_POLL_MS": "60000",
    "LEDGER_CLOCK_METRICS_PORT": "9101",
    "LEDGER_LOG_FORMAT": "json",
}


def test_an_empty_environment_gives_the_defaults() -> None:
    assert settings_from({}) == Settings()
    assert settings_from({"PATH": "/bin", "LEDGERS": "2", "XLEDGER_PORT": "1"}) == Settings()


def test_the_defaults_serve_this_machine_alone_on_a_log_that_must_fsync() -> None:
    settings = Settings()
    assert (settings.host, settings.api_key, settings.unsafe_log) == ("127.0.0.1", None, False)
    assert (settings.moderator_key, settings.confidential_key) == (None, None)


def test_every_setting_is_read() -> None:
    assert {name.removeprefix(PREFIX).lower() for name in ALL} == set(Settings.__struct_fields__)
    assert settings_from(ALL) == Settings(
        postgres_dsn="postgresql://books.example/ledger",
        postgres_schema="books_2",
        postgres_pool_max=20,
        nats_url="nats://log.example:4222",
        nats_monitor_url="http://log.example:8222",
        log_replicas=3,
        unsafe_log=True,
        api_key="0123456789abcdef",
        moderator_key="fedcba9876543210",
        confidential_key="0f1e2d3c4b5a6978",
        host="::1",
        port=65535,
        streams_max=1_500,
        projector_batch_max_events=10_000,
        projector_linger_ms=0,
        projector_metrics_port=9100,
        clock_poll_ms=60_000,
        clock_metrics_port=9101,
        log_format="json",
    )


def test_an_empty_variable_is_as_good_as_none() -> None:
    assert settings_from(dict.fromkeys(ALL, "")) == Settings()


@pytest.mark.parametrize("name", ["LEDGER_PROT", "LEDGER_", "LEDGER_POSTGRES_DSN_", "LEDGER_API_KEYS"])
def test_a_misspelt_variable_is_refused_by_name_with_those_that_exist(name: str) -> None:
    expected = rf"^unknown variable {name}; the known variables are LEDGER_POSTGRES_DSN, "
    with pytest.raises(SettingsError, match=expected) as refused:
        settings_from({**ALL, name: "1"})
    assert all(known in str(refused.value) for known in ALL)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LEDGER_POSTGRES_SCHEMA", "Books"),
        ("LEDGER_POSTGRES_SCHEMA", "books; DROP"),
        ("LEDGER_POSTGRES_SCHEMA", "b" * 41),
        ("LEDGER_POSTGRES_POOL_MAX", "0"),
        ("LEDGER_POSTGRES_POOL_MAX", "501"),
        ("LEDGER_LOG_REPLICAS", "2"),
        ("LEDGER_UNSAFE_LOG", "perhaps"),
        ("LEDGER_API_KEY", "too short"),
        ("LEDGER_API_KEY", "null"),
        ("LEDGER_MODERATOR_KEY", "too short"),
        ("LEDGER_CONFIDENTIAL_KEY", "too short"),
        ("LEDGER_PORT", "0"),
        ("LEDGER_PORT", "65536"),
        ("LEDGER_PORT", "http"),
        ("LEDGER_STREAMS_MAX", "-1"),
        ("LEDGER_STREAMS_MAX", "1501"),
        ("LEDGER_PROJECTOR_BATCH_MAX_EVENTS", "0"),
        ("LEDGER_PROJECTOR_LINGER_MS", "-1"),
        ("LEDGER_PROJECTOR_METRICS_PORT", "99999"),
        ("LEDGER_CLOCK_POLL_MS", "0"),
        ("LEDGER_CLOCK_POLL_MS", "60001"),
        ("LEDGER_CLOCK_METRICS_PORT", "0"),
        ("LEDGER_LOG_FORMAT", "xml"),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_variable(name: str, value: str) -> None:
    allowed = documented_settings()[name.removeprefix(PREFIX).lower()].allowed
    with pytest.raises(SettingsError, match=rf"^{name}: expected {re.escape(allowed)}$"):
        settings_from({**ALL, name: value})


@pytest.mark.parametrize("name", ["LEDGER_API_KEY", "LEDGER_MODERATOR_KEY", "LEDGER_CONFIDENTIAL_KEY"])
def test_a_refused_key_is_not_said_aloud(name: str) -> None:
    with pytest.raises(SettingsError) as refused:
        settings_from({**ALL, name: "hunter2"})
    assert "hunter2" not in str(refused.value)


OWN_KEYS = {
    "LEDGER_MODERATOR_KEY": "judge disputes and publish policies",
    "LEDGER_CONFIDENTIAL_KEY": "read confidential events",
}


@pytest.mark.parametrize("api_key", [{}, {"LEDGER_API_KEY": ""}])
@pytest.mark.parametrize("name", OWN_KEYS)
def test_a_key_that_may_do_more_is_refused_alone_for_everybody_could(name: str, api_key: dict[str, str]) -> None:
    with pytest.raises(
        SettingsError, match=rf"^{name} requires LEDGER_API_KEY: without it, every caller could "
    ) as refused:
        settings_from({name: ALL[name], **api_key})
    assert ALL[name] not in str(refused.value)
    assert str(refused.value).endswith(OWN_KEYS[name])


@pytest.mark.parametrize("name", OWN_KEYS)
def test_a_key_that_may_do_more_and_that_everybody_has_is_refused(name: str) -> None:
    key = ALL["LEDGER_API_KEY"]
    with pytest.raises(
        SettingsError, match=rf"^{name} must differ from LEDGER_API_KEY: every caller could also "
    ) as refused:
        settings_from({"LEDGER_API_KEY": key, name: key})
    assert key not in str(refused.value)


def test_one_key_for_two_things_that_take_one_each_is_refused() -> None:
    key = ALL["LEDGER_MODERATOR_KEY"]
    said = (
        "^LEDGER_CONFIDENTIAL_KEY must differ from LEDGER_MODERATOR_KEY: "
        "a caller that may judge disputes and publish policies could also read confidential events$"
    )
    with pytest.raises(SettingsError, match=said):
        settings_from({**ALL, "LEDGER_CONFIDENTIAL_KEY": key})


def test_every_key_has_its_scopes() -> None:
    assert KEY_SCOPES.keys() == {name for name in Settings.__struct_fields__ if name.endswith("_key")}
    assert KEY_SCOPES.keys() - {"api_key"} == EXTRA_RIGHTS.keys()
    assert not KEY_SCOPES["api_key"]


def test_a_schema_whose_name_ends_in_a_line_break_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"^LEDGER_POSTGRES_SCHEMA: "):
        settings_from({"LEDGER_POSTGRES_SCHEMA": "books\n"})


def test_the_environment_of_the_process_is_read_where_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ALL:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LEDGER_PORT", "4711")
    assert settings_from() == Settings(port=4711)


def test_nothing_else_reads_the_environment() -> None:
    root = Path(__file__).parents[2]
    readers = {
        str(path.relative_to(root))
        for package in ("ledger", "services", "workers")
        for path in (root / package).rglob("*.py")
        if "environ" in path.read_text() or "getenv" in path.read_text()
    }
    assert readers == {"ledger/runtime/settings.py"}


def test_every_setting_documents_itself() -> None:
    documented = documented_settings()
    assert documented.keys() == set(Settings.__struct_fields__)
    assert {setting.variable for setting in documented.values()} == ALL.keys()
    assert all(setting.meaning.endswith(".") and setting.allowed for setting in documented.values())


def test_every_number_except_a_port_has_a_unit() -> None:
    without = {
        name
        for name, setting in documented_settings().items()
        if isinstance(setting.default, int) and not isinstance(setting.default, bool) and not setting.unit
    }
    assert without == {"port"}


def test_a_unit_is_the_last_word_of_a_name_or_stated_apart() -> None:
    documented = documented_settings()
    assert documented["clock_poll_ms"].unit == "milliseconds"
    assert documented["streams_max"].unit == "clients"


@pytest.mark.parametrize(
    "kind", [Annotated[int, msgspec.Meta(ge=1)], Annotated[str, msgspec.Meta(pattern="x")], list[int]]
)
def test_limits_that_have_no_words_are_not_passed_over(kind: Any) -> None:
    with pytest.raises(TypeError, match=r"^no words for "):
        values_of(msgspec.inspect.type_info(kind))
