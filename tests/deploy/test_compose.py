"""Compose, nats-server, the command line and the settings accept everything in the Compose file."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import click
import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
NATS_CONF = ROOT / "deploy" / "nats" / "nats.conf"
OURS = {name: service for name, service in COMPOSE["services"].items() if "build" in service}


def test_it_follows_the_compose_specification() -> None:
    schema = json.loads(Path(__file__).with_name("compose-spec.json").read_text())
    jsonschema.Draft7Validator(schema).validate(COMPOSE)


def test_the_specification_catches_a_misspelt_key() -> None:
    schema = json.loads(Path(__file__).with_name("compose-spec.json").read_text())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(schema).validate({"services": {"nats": {"image": "nats", "vulumes": []}}})


def test_every_image_is_pinned_by_a_version() -> None:
    for name, service in COMPOSE["services"].items():
        assert re.search(r":\d+\.\d+", service["image"]), name


@pytest.mark.parametrize(("service", "image"), [("postgres", r"postgres:18\.\d+"), ("nats", r"nats:2\.15\.\d+-alpine")])
def test_the_servers_are_postgres_18_and_nats_server_2_15(service: str, image: str) -> None:
    assert re.fullmatch(image, COMPOSE["services"][service]["image"])


@pytest.mark.parametrize("service", OURS)
def test_the_image_is_built_from_a_dockerfile_that_exists(service: str) -> None:
    build = OURS[service]["build"]
    assert (ROOT / build["context"] / build["dockerfile"]).is_file()


def test_whatever_is_waited_for_is_there_and_says_when_it_is_ready() -> None:
    services = COMPOSE["services"]
    for name, service in services.items():
        for needed, how in service.get("depends_on", {}).items():
            match how["condition"]:
                case "service_healthy":
                    assert "healthcheck" in services[needed], f"{name} waits for {needed}"
                case "service_completed_successfully":
                    assert services[needed]["restart"] == "no", f"{name} waits for {needed}"
                case other:
                    raise AssertionError(f"{name} waits for {needed} to be {other}")


def test_named_volumes_are_declared_and_mounted_files_exist() -> None:
    for name, service in COMPOSE["services"].items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            found = (ROOT / source).is_file() if source.startswith(".") else source in COMPOSE["volumes"]
            assert found, f"{name}: {volume}"


def test_nats_runs_with_the_configuration_that_is_mounted() -> None:
    nats = COMPOSE["services"]["nats"]
    mounted = {target: source for source, target, *_ in (volume.split(":") for volume in nats["volumes"])}
    option, config = nats["command"]
    assert option == "--config"
    assert (ROOT / mounted[config]).resolve() == NATS_CONF


def test_nats_server_takes_its_configuration_and_would_fsync_every_message() -> None:
    program = shutil.which("nats-server", path=str(Path(sys.executable).parent))
    assert program is not None
    tried = subprocess.run([program, "-t", "-c", str(NATS_CONF)], capture_output=True, text=True, check=False)
    assert tried.returncode == 0, tried.stderr
    assert re.search(r"^\s*sync_interval:\s*always$", NATS_CONF.read_text(), re.MULTILINE)


@pytest.mark.parametrize("service", OURS)
def test_every_command_is_one_of_the_command_line(service: str) -> None:
    from deploy.cli.main import main

    words: list[str] = OURS[service]["command"]
    command, context = cast("click.Command", main), click.Context(main, **main.context_settings)
    while words and isinstance(command, click.Group):
        found = command.get_command(context, words[0])
        assert found is not None, f"{service}: no {words[0]!r} in {command.name}"
        command, words = found, words[1:]
        context = click.Context(command, parent=context)
    command.make_context(command.name, list(words), parent=context.parent)  # Raises if it cannot be parsed.


def test_every_worker_of_the_table_has_a_command_and_a_service() -> None:
    from deploy.cli.main import main
    from workers.table import WORKERS

    (argument,) = [parameter for parameter in main.commands["work"].params if isinstance(parameter, click.Argument)]
    assert list(cast("click.Choice[str]", argument.type).choices) == list(WORKERS)
    assert {name: OURS.get(name, {}).get("command") for name in WORKERS} == {name: ["work", name] for name in WORKERS}


def test_every_setting_is_one_that_the_ledger_knows() -> None:
    from ledger.runtime.settings import Settings

    known = {f"LEDGER_{field.upper()}" for field in Settings.__struct_fields__}
    for name, service in OURS.items():
        assert not service["environment"].keys() - known, name
