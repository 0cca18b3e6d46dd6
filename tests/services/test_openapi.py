"""`/openapi.json` is enough to write a client from: it is complete, and every example conforms to it."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import OpenAPIV31SpecValidator
from openapi_spec_validator.validation.exceptions import OpenAPIValidationError

from ledger.domain.catalog.operations import OPERATIONS
from services.app import ServicePart
from services.docs.command_examples import command_examples
from services.docs.openapi import HEADERS, TAGS, VIEW_FORMS
from services.docs.problem_examples import PROBLEM_EXAMPLES, PROBLEM_FACTS
from services.http.problems import MEDIA_TYPE, STATUS
from tests.services.contract import Contract

METHODS: Final = ("get", "post")
WITHOUT_A_BODY: Final = frozenset({204, 304})
PARTS: Final[tuple[ServicePart, ...]] = ("all", "command", "query")


@pytest.fixture(scope="module", params=PARTS)
def document(request: pytest.FixtureRequest) -> Mapping[str, Any]:
    return Contract(request.param).document


def operations(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for methods in document["paths"].values():
        assert not methods.keys() - set(METHODS)
        yield from methods.values()


def answers(document: Mapping[str, Any]) -> Iterator[tuple[str, int, Mapping[str, Any]]]:
    for operation in operations(document):
        for status, answer in operation["responses"].items():
            yield operation["operationId"], int(status), answer


def faults(document: Mapping[str, Any], schema: Mapping[str, Any], example: Any) -> list[str]:
    """Return the departures of the example from the schema."""
    whole = {**schema, "components": document["components"]}
    validator = Draft202012Validator(whole, format_checker=FormatChecker())
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(example)]


def examples_of(document: Mapping[str, Any], media: Mapping[str, Any]) -> Iterator[Any]:
    for example in media["examples"].values():
        name = example.get("$ref", "").rpartition("/")[2]
        yield (document["components"]["examples"][name] if name else example)["value"]


# Validity


def test_it_is_what_the_openapi_initiative_calls_valid(document: Mapping[str, Any]) -> None:
    assert [error.message for error in OpenAPIV31SpecValidator(dict(document)).iter_errors()] == []


def test_the_validator_finds_what_is_wrong() -> None:
    with pytest.raises(OpenAPIValidationError):
        OpenAPIV31SpecValidator({"openapi": "3.1.0", "info": {"title": "no version"}, "paths": {}}).validate()


# Completeness


def test_every_operation_is_named_told_and_filed(document: Mapping[str, Any]) -> None:
    told = {tag["name"]: tag["description"] for tag in document["tags"]}
    for operation in operations(document):
        name = operation["operationId"]
        assert operation["summary"].endswith((".", "?", "`.")), name
        assert "\n    " not in operation.get("description", ""), f"{name}: indented like code"
        assert all(told[tag] for tag in operation["tags"]), f"{name}: a tag that {TAGS.keys()} do not have"


def test_every_parameter_is_described_and_shown(document: Mapping[str, Any]) -> None:
    for operation in operations(document):
        for parameter in operation["parameters"]:
            where = f"{operation['operationId']} {parameter['name']}"
            assert parameter["description"], where
            assert "null" not in str(parameter["schema"]), where
            assert faults(document, parameter["schema"], parameter["example"]) == [], where


def test_an_id_in_a_path_is_a_uuid_and_only_a_members_is_their_own(document: Mapping[str, Any]) -> None:
    for path, operation in ((path, it) for path, item in document["paths"].items() for it in item.values()):
        for schema in (it["schema"] for it in operation["parameters"] if it["name"] == "id"):
            assert ("pattern" in schema) is path.startswith("/v1/communities/{community}/members/"), path
            assert ("format" in schema) is ("pattern" not in schema), path


def test_every_body_that_is_sent_has_a_schema_and_an_example_of_it(document: Mapping[str, Any]) -> None:
    for operation in operations(document):
        for media in operation.get("requestBody", {}).get("content", {}).values():
            examples = list(examples_of(document, media))
            assert examples, operation["operationId"]
            for example in examples:
                assert faults(document, media["schema"], example) == [], operation["operationId"]


def test_every_body_that_is_answered_has_a_schema_and_an_example_of_it(document: Mapping[str, Any]) -> None:
    for name, status, answer in answers(document):
        assert ("content" in answer) == (status not in WITHOUT_A_BODY), f"{name} {status}"
        for media in answer.get("content", {}).values():
            examples = list(examples_of(document, media))
            assert examples, f"{name} {status}"
            for example in examples:
                assert faults(document, media["schema"], example) == [], f"{name} {status}"


def test_every_header_is_described_and_shown(document: Mapping[str, Any]) -> None:
    for name, status, answer in answers(document):
        for header, of in answer["headers"].items():
            assert of["description"], f"{name} {status} {header}"
            assert faults(document, of["schema"], of["example"]) == [], f"{name} {status} {header}"


def test_every_answer_bears_the_headers_that_its_kind_bears(document: Mapping[str, Any]) -> None:
    expected = {201: {"Ledger-Position", "Location"}, 200: {"Ledger-Position"}}
    expected |= {401: {"WWW-Authenticate"}, 503: {"Retry-After"}}
    for name, status, answer in answers(document):
        borne = set(answer["headers"])
        assert borne >= expected.get(status, set()), f"{name} {status}"
        forms = {media["schema"].get("$ref", "").rpartition("/")[2] for media in answer.get("content", {}).values()}
        assert ("ETag" in borne) >= bool(forms & VIEW_FORMS), f"{name} {status}"
        assert borne <= HEADERS.keys()
    ways = {operation["operationId"]: operation for operation in operations(document)}
    for operation in ways.values():
        keyed = any(parameter["name"] == "Idempotency-Key" for parameter in operation["parameters"])
        done = [answer for status, answer in operation["responses"].items() if status < "300"]
        assert all(("Idempotent-Replayed" in answer["headers"]) == keyed for answer in done), operation["operationId"]


def test_every_problem_is_shown_by_a_document_of_its_own(document: Mapping[str, Any]) -> None:
    for name, status, answer in answers(document):
        if status >= 400:
            media = answer["content"][MEDIA_TYPE]
            assert list(media["examples"]) == answer["description"].split(", "), f"{name} {status}"
            for code, example in zip(media["examples"], examples_of(document, media), strict=True):
                assert example == PROBLEM_EXAMPLES[code], f"{name} {status}"
                assert PROBLEM_EXAMPLES[code]["status"] == status, f"{name} {status}"


def test_a_mistake_of_ours_may_be_met_at_every_address(document: Mapping[str, Any]) -> None:
    assert all(operation["responses"]["500"]["description"] == "internal" for operation in operations(document))


# Conformance


def test_there_is_an_example_of_every_problem_in_the_catalogue() -> None:
    assert len(PROBLEM_EXAMPLES) == len(STATUS)
    assert PROBLEM_FACTS.keys() <= STATUS.keys()


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_is_shown_by_what_the_domain_decides(name: str) -> None:
    exchange = command_examples()[name]
    assert type(exchange.command) is OPERATIONS[name].command
    assert (exchange.held.version == 1) == OPERATIONS[name].creates
    assert exchange.held.position - exchange.held.began == exchange.held.version - 1
