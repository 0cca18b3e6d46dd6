"""Tallies of legs and events, of each member and of each pair of members."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from tests.oracle.aggregates import Aggregate, Event
from tests.oracle.legs import Leg
from tests.oracle.postings import FAULTS, Find
from tests.oracle.standing import rounded_weight

# Settled favours and introductions. Such help in both directions makes the stage `trusted`.
HELP: Final = frozenset({"favour.thanked", "favour.confirmed", "intro.made", "intro.met"})


@dataclass
class Tallies:
    """Sums by name, of each member and of each pair of members.

    Of a member: the accounts, `given` and `received`, and the same two in weights (`recent_given`, `recent_received`).
    Also the items `settled`, the introductions `kept` and `broken`, and the number of `postings`. `first` is the
    position of the first posting. Of a pair, in the order of the ids: `low_gave`, `high_gave`, `low_helped`,
    `high_helped`, `contacts`, `one_to_ones`.
    """

    members: dict[tuple[str, str], Counter[str]] = field(default_factory=dict[tuple[str, str], Counter[str]])
    pairs: dict[tuple[str, str, str], Counter[str]] = field(default_factory=dict[tuple[str, str, str], Counter[str]])

    def post(self, event: Event, leg: Leg, *, weighed_at: datetime, is_help: bool) -> None:
        """Add a leg. A reversal has the weight of the reversed entry: `weighed_at` is the time of that entry."""
        tally = self.of_member(event, leg.member)
        tally[leg.account] += leg.points
        tally["postings"] += 1
        for side, gross in (("given", leg.given), ("received", leg.received)):
            tally[side] += gross
            tally[f"recent_{side}"] += rounded_weight(gross, weighed_at) if gross else 0
            tally["settled"] += sign(gross)
        if leg.counterparty is not None and leg.given:
            pair = self.of_pair(event, leg.member, leg.counterparty)
            side = "low" if leg.member < leg.counterparty else "high"
            pair[f"{side}_gave"] += leg.given
            pair[f"{side}_helped"] += sign(leg.given) * is_help

    def count(self, event: Event, subject: Aggregate, find: Find) -> None:
        """Count the kept and broken introductions, and the steps of relationships."""
        facts = subject.facts
        match event.name:
            case "intro.closed":
                self.judge(event, facts["connector"], broken=facts["fault"] == "connector")
                if not subject.matchmade:  # An offered intro has no ask, so its asker cannot be at fault.
                    self.judge(event, facts["asker"], broken=facts["fault"] == "asker")
            case "dispute.upheld" if facts["remedy"] == "fault":
                intro = find("intro", facts["about"])
                if intro.state == "closed":  # It counted as kept when it was closed.
                    at_fault = intro.facts[FAULTS[facts["code"]]]
                    self.of_member(event, at_fault)["kept"] -= 1
                    self.judge(event, at_fault, broken=True)
            case "contact.made":
                self.of_pair(event, facts["member"], facts["other"])["contacts"] += 1
            case "intro.met":
                self.of_pair(event, facts["asker"], facts["target"])["contacts"] += 1
            case "one-to-one.held" if subject.state == "held":
                self.of_pair(event, facts["member"], facts["other"])["one_to_ones"] += 1
            case _:
                pass

    def judge(self, event: Event, member: str, *, broken: bool) -> None:
        self.of_member(event, member)["broken" if broken else "kept"] += 1

    def of_member(self, event: Event, member: str) -> Counter[str]:
        return self.members.setdefault((event.community, member), Counter(first=event.position))

    def of_pair(self, event: Event, one: str, other: str) -> Counter[str]:
        return self.pairs.setdefault((event.community, min(one, other), max(one, other)), Counter())


def sign(number: int) -> int:
    return (number > 0) - (number < 0)
