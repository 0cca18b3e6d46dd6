"""An example document of every problem in the catalogue, with the facts that it comes with."""

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

import msgspec

from ledger.commands import refusals as commands_refusals
from ledger.commands import submission
from ledger.domain.kinds import publication
from ledger.domain.values import refusals
from ledger.domain.values.refusals import Fact, Refusal
from ledger.examples import AGGREGATE, EXAMPLES, NOW
from services.http import problems
from services.http.problems import STATUS, problem_of

ID: Final = UUID(AGGREGATE)
ONE: Final[Mapping[str, Fact]] = MappingProxyType({"kind": "favour", "id": ID})
LATER: Final = NOW + timedelta(days=14)
PROBLEM_FACTS: Final[Mapping[type[Exception], Mapping[str, Fact]]] = MappingProxyType(
    {
        problems.MalformedJson: {"reason": "JSON is malformed: expected '}' (byte 17)"},
        problems.InvalidField: {"field": "size", "source": "body", "reason": "Invalid enum value 'huge'"},
        problems.Confidential: {"event": "intro.declined"},
        problems.NotJson: {"content_type": "text/plain"},
        commands_refusals.KeyReused: ONE,
        commands_refusals.VersionMismatch: {"if_match": 1, "version": 2},
        commands_refusals.Contended: ONE,
        refusals.NotYours: {"role": "receiver"},
        refusals.WrongState: {"expected": "claimed", "found": "lapsed"},
        refusals.SelfDealing: {"roles": ["giver", "receiver"]},
        refusals.AlreadyExists: {"kind": "favour"},
        refusals.Unknown: {**ONE, "entry": "favour.thanked"},
        refusals.NotDue: {"due_at": LATER},
        refusals.TimeInFuture: {"field": "occurred_at", "latest": NOW + submission.OCCURRED_AHEAD_MAX},
        refusals.TimeTooEarly: {"field": "occurred_at", "earliest": submission.OCCURRED_EARLIEST},
        refusals.RespondByOutOfRange: {"field": "respond_by", "latest": LATER},
        refusals.LevelMisplaced: {"field": "level"},
        refusals.ParentNotWon: {"parent": EXAMPLES["parent"], "found": "qualified"},
        refusals.NoDues: {"gathering": EXAMPLES["gathering"]},
        refusals.ExpectationMisplaced: {"field": "expects_percent"},
        refusals.TooLate: {"latest": NOW},
        refusals.UnderDispute: {"lapses_at": LATER},
        refusals.ReciprocityLimit: {
            "net": -240,
            "limit": 240,
            "given": 30,
            "received": 270,
            "received_items": 5,
            "ways": ["set_offers", "meet_want bob tax"],
        },
        refusals.OpenAsks: {"open_asks": 5, "open_asks_max": 5},
        refusals.AskedBefore: {"again_at": LATER},
        refusals.PolicyInvalid: {"field": "size_points"},
        refusals.StartsOutOfRange: {
            "field": "starts_at",
            "earliest": NOW + publication.POLICY_NOTICE,
            "latest": NOW + publication.POLICY_AHEAD_MAX,
        },
        refusals.TooManyScheduled: {"scheduled_max": publication.SCHEDULED_MAX},
    }
)
"""Those that are not here come without any."""


def problem_example(problem: type[Exception]) -> dict[str, Any]:
    facts = PROBLEM_FACTS.get(problem, {})
    error = problem(**facts) if issubclass(problem, Refusal) else problem()
    document: dict[str, Any] = msgspec.to_builtins(problem_of(error))
    return document


PROBLEM_EXAMPLES: Final[Mapping[str, dict[str, Any]]] = MappingProxyType(
    {document["code"]: document for document in map(problem_example, STATUS)}
)
