"""The documentation is valid, complete and accurate. Its page works offline, and the metrics name no member."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from html.parser import HTMLParser
from typing import Any, TypeGuard
from uuid import uuid4

import httpx
import pytest
import schemathesis
from jsonschema import Draft202012Validator

from ledger.domain.catalog.kinds import KINDS
from ledger.domain.catalog.operations import OPERATIONS
from services.http.resources import VIEWS
from services.query.filters import FILTER_NAMES, LISTED_KINDS, STATES
from tests.services.bad_requests.catalogue import every_bad_request
from tests.services.bad_requests.subjects import create_subjects
from tests.services.caller import Caller
from tests.services.contract import Contract
from tests.services.lifecycles import ASK, FAVOUR, HOLD, LIFECYCLES, THANKS, address_of, by, resolve, run_lifecycle

PERSONAL = ("balance", "pairs", "standing", "coach", "matches")


@pytest.fixture(scope="module")
def contract() -> Contract:
    return Contract()


@pytest.fixture(scope="module")
def document(contract: Contract) -> Mapping[str, Any]:
    return contract.document


def operations(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [operation for methods in document["paths"].values() for operation in methods.values()]


def is_object(value: Any) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, dict)


def is_list(value: Any) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, list)


def inside(value: Any) -> Iterator[Mapping[str, Any]]:
    """Yield every object in a JSON document."""
    if is_object(value):
        yield value
    for part in value.values() if is_object(value) else value if is_list(value) else ():
        yield from inside(part)


def id_of(operation: str) -> str:
    """Return the operation's id in the document, such as `holdOneToOne`."""
    kind, _, verb = operation.partition(".")
    return verb + "".join(word.capitalize() for word in kind.split("-"))


# The document /openapi.json


async def test_the_document_that_is_served_is_openapi_3_1(ledger: Caller, document: Mapping[str, Any]) -> None:
    served = (await ledger.client.get("/openapi.json")).json()
    assert served == document
    assert served["openapi"].startswith("3.1.")
    schemathesis.openapi.from_dict(served).validate()


def test_every_schema_of_the_document_is_a_json_schema(document: Mapping[str, Any]) -> None:
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    for schema in (part["schema"] for part in inside(document) if "schema" in part):
        Draft202012Validator.check_schema(schema)


def test_every_reference_leads_somewhere(document: Mapping[str, Any]) -> None:
    for reference in (part["$ref"] for part in inside(document) if "$ref" in part):
        place: Any = document
        for name in reference.removeprefix("#/").split("/"):
            place = place[name]
        assert place


def test_every_operation_has_a_name_of_its_own_and_says_what_it_does(document: Mapping[str, Any]) -> None:
    names = Counter(operation["operationId"] for operation in operations(document))
    assert set(names.values()) == {1}
    assert {*map(id_of, OPERATIONS)} < set(names)
    for operation in operations(document):
        assert operation.get("summary") or operation.get("description"), operation["operationId"]
        assert operation["tags"], operation["operationId"]


def test_the_ways_of_a_member_id_are_told_wherever_one_is_taken(document: Mapping[str, Any]) -> None:
    for operation in OPERATIONS.values():
        name = operation.command.__name__
        schema = document["components"]["schemas"][name]
        assert "pattern" in schema["properties"]["actor"], name


def test_what_takes_a_moderators_key_says_so(document: Mapping[str, Any]) -> None:
    said = {
        operation["operationId"]
        for operation in operations(document)
        if "not_a_moderator" in operation["responses"].get("403", {}).get("description", "").split(", ")
    }
    assert said == {id_of(name) for name, operation in OPERATIONS.items() if operation.scope is not None}
    assert said == {"upholdDispute", "rejectDispute", "publishPolicy"}


def test_every_read_of_what_is_somebodys_own_takes_a_viewer(document: Mapping[str, Any]) -> None:
    for path, methods in document["paths"].items():
        if "get" in methods:
            names = {parameter["name"] for parameter in methods["get"].get("parameters", ())}
            of_the_community = path.endswith(("/balances", "/summary", "/policy", "/yield", "/events"))
            assert ("viewer" in names) != of_the_community, path
            assert "min_position" in names, path


def test_the_feed_says_that_a_stream_may_be_asked_for(document: Mapping[str, Any]) -> None:
    operation = document["paths"]["/v1/communities/{community}/events"]["get"]
    assert set(operation["responses"]["200"]["content"]) == {"application/json", "text/event-stream"}
    assert operation["responses"]["403"]["description"] == "confidential"


def test_every_operation_says_which_key_it_needs(document: Mapping[str, Any]) -> None:
    assert document["security"] == [{"key": []}]
    assert document["components"]["securitySchemes"]["key"] == {"type": "http", "scheme": "bearer"}


async def test_every_answer_is_of_the_form_that_is_documented(
    ledger: Caller, projector: None, contract: Contract
) -> None:
    contract.broken.clear()
    ledger.client.event_hooks = {"response": [contract.hold]}
    for request in every_bad_request(await create_subjects(ledger)):
        await request.send(ledger)
    position = 0
    for life in LIFECYCLES.values():
        view = await run_lifecycle(ledger, *life)
        position = view["position"]
        path = f"/{KINDS[life[-1].kind].plural}/{address_of(view, life[-1].kind)}"
        assert (await ledger.get(path, min_position=position)).status_code == 200
        assert (await ledger.get(path, viewer="nobody")).status_code in {200, 403}
    gathering = (await ledger.recorded("/gatherings", HOLD.body, key="gathering"))["id"]
    matched = {"ann": {"wants": ["law"]}, "tom": {"offers": ["law"]}, "cas": {"offers": ["law"]}}
    for member, sides in matched.items():
        await ledger.recorded("/members", by(member, member=member))
        for side, tags in sides.items():
            await ledger.recorded(f"/members/{member}/{side}", by(member, tags=tags))
    asked = await ledger.recorded("/intros", ASK.body, key="asked")
    assert (await ledger.get("/summary", min_position=asked["position"])).status_code == 200
    for path in (
        *("/balances", "/summary", "/policy", f"/gatherings/{gathering}/yield", "/members/ada/pairs/bob"),
        *(f"/members/{who}/{what}?viewer={who}" for who in ("ada", "ann", "cas") for what in PERSONAL),
        *(f"/intros/{asked['id']}?viewer={who}" for who in ("ann", "cas", "tom", "eve")),
        *(
            f"/{KINDS[kind].plural}?limit=2{order}"
            for kind in LISTED_KINDS
            for order in ("", "&order=newest&viewer=ann")
        ),
    ):
        answer = await ledger.client.get(ledger.path(path))
        assert answer.status_code in {200, 403}, path
    items = [{"op": "favour.record", "idempotency_key": "k", "body": body} for body in (FAVOUR | by("bob"), {}, 7)]
    await ledger.post("/batch", items)
    assert sorted(contract.broken) == []


async def test_every_request_that_is_carried_out_is_of_the_form_that_is_documented(
    ledger: Caller, document: Mapping[str, Any]
) -> None:
    names = {operation["operationId"]: operation for operation in operations(document)}
    broken: set[str] = set()
    for request in [request for life in LIFECYCLES.values() for request in await resolve(ledger, life)]:
        form = names[id_of(request.operation)]["requestBody"]["content"]["application/json"]["schema"]
        validator = Draft202012Validator({**form, "components": document["components"]})
        broken |= {
            f"{request.operation} {error.json_path}: {error.message}" for error in validator.iter_errors(request.body)
        }
    assert sorted(broken) == []


@pytest.mark.parametrize("kind", LISTED_KINDS)
def test_a_list_says_by_what_it_can_be_narrowed_and_to_what(document: Mapping[str, Any], kind: str) -> None:
    operation = document["paths"][f"/v1/communities/{{community}}/{KINDS[kind].plural}"]["get"]
    assert operation["operationId"] == "list" + "".join(word.capitalize() for word in KINDS[kind].plural.split("-"))
    forms = {parameter["name"]: parameter["schema"] for parameter in operation["parameters"]}
    of_every_list = {"community", "viewer", "order", "limit", "cursor", "min_position", "If-None-Match"}
    assert forms.keys() == {*FILTER_NAMES[kind], *of_every_list}
    assert forms["role"]["enum"] == list(KINDS[kind].parties)
    assert set(STATES[kind]) <= set(forms["state"]["enum"])
    page = operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    items = document["components"]["schemas"][page]["properties"][KINDS[kind].plural.replace("-", "_")]["items"]
    assert items["$ref"].endswith(f"/{VIEWS[kind].__name__}")


# The page /docs


class Links(HTMLParser):
    """Everything that a page makes a browser load."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in {"href", "src"} and value]


async def test_the_page_of_the_documentation_works_offline(ledger: Caller) -> None:
    page = await ledger.client.get("/docs")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    links = Links(page.text).found
    assert len(links) >= 4
    assert [link for link in links if not re.match(r"/[^/]", link)] == []
    for link in links:
        answer = await ledger.client.get(link)
        assert (answer.status_code, len(answer.content) > 500) == (200, True), link


async def test_there_is_nothing_else_beside_the_assets(ledger: Caller) -> None:
    for path in ("/docs-assets/nothing.js", "/docs-assets/%2e%2e/__init__.py", "/docs-assets/../__init__.py"):
        assert (await ledger.client.get(path)).status_code == 404, path


# The metrics at /metrics


def samples(page: httpx.Response, name: str) -> dict[tuple[tuple[str, str], ...], float]:
    """Return the samples of one metric by their labels."""
    return {
        tuple(sorted(re.findall(r'(\w+)="([^"]*)"', labels))): float(value)
        for labels, value in re.findall(rf"^{name}\{{(.*)\}} (\S+)$", page.text, re.MULTILINE)
    }


def of(method: str, route: str, status: int) -> tuple[tuple[str, str], ...]:
    return (("method", method), ("route", route), ("status", str(status)))


async def test_requests_are_counted_by_the_template_of_their_route(ledger: Caller) -> None:
    prefix = "/v1/communities/{community}"
    expected = {
        of("POST", f"{prefix}/favours", 201): 1.0,
        of("POST", f"{prefix}/favours/{{id}}/forgive", 403): 2.0,
        of("GET", f"{prefix}/members/{{member}}/balance", 200): 1.0,
        of("GET", f"{prefix}/members/{{member}}/balance", 400): 1.0,
    }
    before = samples(await ledger.client.get("/metrics"), "ledger_http_requests_total")
    favour = await run_lifecycle(ledger, THANKS)
    for _ in range(2):
        await ledger.post(f"/favours/{favour['id']}/forgive", by("bob"))
    await ledger.get("/members/ada/balance")
    await ledger.get("/members/clock/balance")
    page = await ledger.client.get("/metrics")
    assert page.headers["content-type"].startswith("text/plain")
    after = samples(page, "ledger_http_requests_total")
    assert {labels: after.get(labels, 0) - before.get(labels, 0) for labels in expected} == expected
    assert samples(page, "ledger_http_request_seconds_count")
    assert samples(page, "ledger_commands_total")


async def test_whatever_is_asked_for_makes_no_labels_without_end(ledger: Caller) -> None:
    secret = uuid4().hex
    for path in (f"/{secret}", f"/favours/{secret}", f"/members/{secret}/balance", f"/docs-assets/{secret}"):
        await ledger.get(path)
    await ledger.client.get(f"/{secret}")
    await ledger.client.get(f"/docs-assets/{secret}")
    await ledger.client.request(secret.upper(), ledger.path("/favours"))
    assert secret not in (await ledger.client.get("/metrics")).text.lower()


async def test_what_is_at_no_address_is_counted_too(ledger: Caller) -> None:
    def unmatched(page: httpx.Response) -> float:
        found = samples(page, "ledger_http_requests_total")
        return sum(value for labels, value in found.items() if dict(labels)["status"] in {"404", "405"})

    before = unmatched(await ledger.client.get("/metrics"))
    await ledger.client.get("/nowhere")
    await ledger.client.put(ledger.path("/favours"))
    assert unmatched(await ledger.client.get("/metrics")) == before + 2
