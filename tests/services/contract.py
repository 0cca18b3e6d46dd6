"""Holds answers against `/openapi.json`: each status is documented for its operation, each body of its form."""

import re
from collections.abc import Mapping
from typing import Any

import httpx
import msgspec
from jsonschema import Draft202012Validator

from ledger.runtime.settings import Settings
from services.app import application


class Contract:
    """What the documentation promises, and how often it was broken."""

    def __init__(self) -> None:
        made = application("all", Settings()).openapi_schema.to_schema()
        self.document: Mapping[str, Any] = msgspec.json.decode(msgspec.json.encode(made))
        self.broken: set[str] = set()
        self._operations = [
            (method.upper(), re.compile(re.sub(r"\{[^}]+\}", "[^/]+", path)), operation)
            for path, methods in self.document["paths"].items()
            for method, operation in methods.items()
        ]

    async def hold(self, answer: httpx.Response) -> None:
        """Remembers in what the answer is otherwise than documented. What is at no documented route is not held."""
        await answer.aread()
        for method, path, operation in self._operations:
            if method == answer.request.method and path.fullmatch(answer.request.url.path):
                self._hold(operation, answer)

    def _hold(self, operation: Mapping[str, Any], answer: httpx.Response) -> None:
        name, status = operation["operationId"], answer.status_code
        documented = operation["responses"].get(str(status))
        if documented is None:
            self.broken.add(f"{name} answers {status}, which is not documented: {answer.text}")
            return
        media_type = answer.headers["content-type"]
        form = documented["content"].get(media_type)
        if form is None:
            self.broken.add(f"{name} answers {status} in {media_type}, which is not documented")
            return
        if status >= 400 and (code := answer.json()["code"]) not in documented["description"].split(", "):
            self.broken.add(f"{name} answers {status} {code}, which is not documented")
        validator = Draft202012Validator({**form["schema"], "components": self.document["components"]})
        self.broken |= {
            f"{name} {status} {error.json_path}: {error.message}" for error in validator.iter_errors(answer.json())
        }
