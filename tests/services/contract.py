"""Check of responses against `/openapi.json`: each status is documented for its operation, each body has its form."""

import re
from collections.abc import Mapping
from typing import Any

import httpx
import msgspec
from jsonschema import Draft202012Validator

from ledger.runtime.settings import Settings
from services.app import ServicePart, application
from services.docs.openapi import HEADERS


class Contract:
    """The documented responses, and the departures from them found so far."""

    def __init__(self, part: ServicePart = "all") -> None:
        made = application(part, Settings()).openapi()
        self.document: Mapping[str, Any] = msgspec.json.decode(msgspec.json.encode(made))
        self.broken: set[str] = set()
        self._operations = [
            (method.upper(), re.compile(re.sub(r"\{[^}]+\}", "[^/]+", path)), operation)
            for path, methods in self.document["paths"].items()
            for method, operation in methods.items()
        ]

    async def hold(self, answer: httpx.Response) -> None:
        """Record each departure of the response from the documentation. Undocumented routes are not checked."""
        await answer.aread()
        for method, path, operation in self._operations:
            if method == answer.request.method and path.fullmatch(answer.request.url.path):
                self._hold(operation, answer)

    def _hold(self, operation: Mapping[str, Any], answer: httpx.Response) -> None:
        name, status = operation["operationId"], answer.status_code
        documented = operation["responses"].get(str(status))
        if documented is None or status == 500:  # A 500 is documented but never expected.
            self.broken.add(f"{name} answers {status}, which is not documented: {answer.text}")
            return
        if status == 304:
            self._hold_headers(f"{name} answers {status}", documented["headers"], answer)
            return
        media_type = answer.headers["content-type"].partition(";")[0]
        form = documented["content"].get(media_type)
        if form is None:
            self.broken.add(f"{name} answers {status} in {media_type}, which is not documented")
            return
        if status >= 400:
            self._hold_problem(f"{name} answers {status}", form, answer.json())
        self._hold_headers(f"{name} answers {status}", documented["headers"], answer)
        validator = Draft202012Validator({**form["schema"], "components": self.document["components"]})
        self.broken |= {
            f"{name} {status} {error.json_path}: {error.message}" for error in validator.iter_errors(answer.json())
        }

    def _hold_problem(self, what: str, form: Mapping[str, Any], problem: Mapping[str, Any]) -> None:
        """Check that the problem is documented here, and has no facts beyond its example."""
        code = problem["code"]
        if code not in form["examples"]:
            self.broken.add(f"{what} {code}, which is not documented")
            return
        example = self.document["components"]["examples"][code]["value"]
        self.broken |= {f"{what} {code} with {fact!r}, which no example shows" for fact in problem.keys() - example}

    def _hold_headers(self, what: str, documented: Mapping[str, Any], answer: httpx.Response) -> None:
        said = {header for header in HEADERS if header in answer.headers}
        self.broken |= {f"{what} with {header}, which is not documented" for header in said - documented.keys()}
        always = {header for header, of in documented.items() if of["required"]}
        self.broken |= {f"{what} without {header}" for header in always - said}
