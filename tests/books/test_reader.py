"""The reader: what the books hold, at the position that comes with it."""

from datetime import timedelta
from typing import Final
from uuid import UUID

import pytest

from ledger.books.reader import Due, MemberBalance, PairTally, Reader, StoredAggregate, Summary
from ledger.domain.catalog.kinds import KINDS
from ledger.domain.kinds.contact import MakeContact
from ledger.domain.kinds.dispute.commands import OpenDispute
from ledger.domain.kinds.favour import ConfirmFavour, RecordFavour
from ledger.domain.kinds.intro.commands import AcceptIntro, ConsentIntro, MakeIntro, ProposeIntro
from ledger.domain.kinds.member import JoinMember
from ledger.domain.kinds.one_to_one import BookOneToOne, HoldOneToOne
from ledger.domain.kinds.publication import PublishPolicy
from ledger.domain.kinds.referral import GiveReferral
from ledger.domain.values.policy import Policy
from ledger.domain.values.refusals import Bug
from ledger.envelope import AggregateRef
from tests.books.books_database import Books
from tests.books.histories import ACME, CommandLog, uuid_of
from tests.envelopes import NOW

MANY: Final = 25
NOBODY: Final = MemberBalance("nobody", 0, 0, 0, 0, 0)


async def test_what_was_never_heard_of_is_zero(reader: Reader) -> None:
    assert await reader.position() == 0
    assert await reader.balance(ACME, "nobody") == (0, NOBODY)
    assert await reader.pair(ACME, "nobody", "noone") == (0, PairTally("noone", 0, 0, "none"))
    assert await reader.balances(ACME, "", 10) == (0, [])
    assert await reader.pairs(ACME, "nobody", "", 10) == (0, [])
    assert await reader.summary(ACME) == (0, Summary(0, 0, 0, 0, 0, 0, {}))
    assert await reader.due(NOW, 10) == (0, [])


@pytest.mark.parametrize("kind", KINDS)
async def test_an_aggregate_that_was_never_heard_of_is_none(reader: Reader, kind: str) -> None:
    assert await reader.aggregate(kind, ACME, uuid_of(404)) == (0, None)


async def test_every_answer_carries_the_position_that_it_shows(
    books: Books, reader: Reader, command_log: CommandLog
) -> None:
    await command_log.thank_many(3)
    await books.write(await command_log.read_events())
    answers = [
        await reader.balance(ACME, "ada"),
        await reader.balances(ACME, "", 10),
        await reader.balances(ACME, "zed", 10),
        await reader.pair(ACME, "ada", "bob"),
        await reader.pairs(ACME, "ada", "", 10),
        await reader.pairs(ACME, "ada", "zed", 10),
        await reader.aggregate("favour", ACME, uuid_of(1)),
        await reader.aggregate("favour", ACME, uuid_of(404)),
        await reader.summary(ACME),
        await reader.summary("nowhere"),
        await reader.due(NOW, 10),
    ]
    assert [position for position, _ in answers] == [3] * len(answers)
    assert await reader.position() == 3


async def test_balances_and_pairs_of_members(books: Books, reader: Reader, command_log: CommandLog) -> None:
    await command_log.thank("ada", "bob", own_id=uuid_of(1))
    await command_log.thank("bob", "ada", own_id=uuid_of(2), size="small")
    await command_log.thank("ada", "cyd", own_id=uuid_of(3), size="large")
    await books.write(await command_log.read_events())
    assert await reader.balance(ACME, "ada") == (3, MemberBalance("ada", 300, 0, 0, 360, 60))
    assert await reader.balance(ACME, "bob") == (3, MemberBalance("bob", -60, 0, 0, 60, 120))
    assert await reader.balance(ACME, "cyd") == (3, MemberBalance("cyd", -240, 0, 0, 0, 240))
    assert await reader.balance("bolt", "ada") == (3, MemberBalance("ada", 0, 0, 0, 0, 0))
    assert await reader.balances(ACME, "", 10) == (
        3,
        [(await reader.balance(ACME, member))[1] for member in ("ada", "bob", "cyd")],
    )
    assert await reader.pair(ACME, "ada", "bob") == (3, PairTally("bob", 120, 60, "trusted"))
    assert await reader.pair(ACME, "bob", "ada") == (3, PairTally("ada", 60, 120, "trusted"))
    assert await reader.pair(ACME, "bob", "cyd") == (3, PairTally("cyd", 0, 0, "none"))
    assert await reader.pairs(ACME, "ada", "", 10) == (
        3,
        [PairTally("bob", 120, 60, "trusted"), PairTally("cyd", 240, 0, "none")],
    )
    assert await reader.pairs(ACME, "cyd", "", 10) == (3, [PairTally("ada", 0, 240, "none")])


async def test_all_accounts_of_a_member_are_shown(books: Books, reader: Reader, command_log: CommandLog) -> None:
    await command_log.execute(ProposeIntro(actor="bob", asker="bob", connector="ada", target="dee", id=uuid_of(1)))
    await command_log.execute(AcceptIntro(actor="ada", level=3), uuid_of(1))
    await command_log.execute(ConsentIntro(actor="dee"), uuid_of(1))
    await command_log.execute(MakeIntro(actor="ada"), uuid_of(1))
    await command_log.execute(OpenDispute(actor="bob", about=uuid_of(1), entry="intro.made", code="not_mine"))
    await books.write(await command_log.read_events())
    assert await reader.balances(ACME, "", 10) == (
        5,
        [MemberBalance("ada", -60, 60, 120, 120, 0), MemberBalance("bob", 0, 0, -120, 0, 120)],
    )


async def test_two_know_each_other_by_the_furthest_step_that_they_took_whoever_asks(
    books: Books, reader: Reader, command_log: CommandLog
) -> None:
    async def stages() -> set[str]:
        await books.write(await command_log.read_events(await books.position() + 1))
        one, other = "Zoe", "ada"
        shown = {(await reader.pair(ACME, *two))[1].stage for two in ((one, other), (other, one))}
        return shown | {pair.stage for asking in (one, other) for pair in (await reader.pairs(ACME, asking, "", 9))[1]}

    await command_log.thank("cyd", "dee", own_id=uuid_of(9))
    assert await stages() == {"none"}
    await command_log.execute(MakeContact(actor="ada", member="ada", other="Zoe"))
    assert await stages() == {"contact"}
    await command_log.execute(BookOneToOne(actor="ada", member="ada", other="Zoe", id=uuid_of(1)))
    await command_log.execute(HoldOneToOne(actor="ada"), uuid_of(1))
    assert await stages() == {"contact"}
    await command_log.execute(HoldOneToOne(actor="Zoe"), uuid_of(1))
    assert await stages() == {"one_to_one"}
    await command_log.thank("ada", "Zoe", own_id=uuid_of(2))
    assert await stages() == {"one_to_one"}
    await command_log.thank("Zoe", "ada", own_id=uuid_of(3))
    assert await stages() == {"trusted"}


async def test_what_is_due_is_shown_the_longest_overdue_first(
    books: Books, reader: Reader, command_log: CommandLog
) -> None:
    refs: list[AggregateRef] = []
    for n in (1, 2, 3):
        claim = RecordFavour(actor="ada", giver="ada", receiver="bob", size="small", id=uuid_of(9 - n))
        refs.append((await command_log.execute(claim)).ref)
        command_log.now += timedelta(days=1)
    await books.write(await command_log.read_events())
    deadlines = [Due(ref, NOW + timedelta(days=14 + n)) for n, ref in enumerate(refs)]
    assert await reader.due(NOW + timedelta(days=13), 10) == (3, [])
    assert await reader.due(NOW + timedelta(days=14), 10) == (3, deadlines[:1])
    assert await reader.due(NOW + timedelta(days=99), 10) == (3, deadlines)
    assert await reader.due(NOW + timedelta(days=99), 2) == (3, deadlines[:2])


async def test_an_aggregate_is_shown_with_its_version_and_whole_state(
    books: Books, reader: Reader, command_log: CommandLog
) -> None:
    favour = await command_log.execute(
        RecordFavour(actor="ada", giver="ada", receiver="bob", size="large", id=uuid_of(1))
    )
    given = GiveReferral(actor="ada", referrer="ada", recipient="cyd", prospect="prospect-7", level=5)
    referral = await command_log.execute(given)
    intro = await command_log.execute(
        ProposeIntro(actor="bob", asker="bob", connector="ada", target="dee", id=uuid_of(3))
    )
    favour = await command_log.execute(ConfirmFavour(actor="bob"), uuid_of(1))
    member = await command_log.execute(JoinMember(actor="ada", member="ada"))
    policy = await command_log.execute(PublishPolicy(actor="ada", policy=Policy(), starts_at=NOW + timedelta(days=1)))
    await books.write(await command_log.read_events())
    for began, outcome in {1: favour, 2: referral, 3: intro, 5: member, 6: policy}.items():
        ref = outcome.ref
        assert await reader.aggregate(ref.kind, ACME, UUID(ref.id)) == (
            6,
            StoredAggregate(UUID(ref.id), outcome.version, outcome.position, began, outcome.state),
        )
        assert await reader.aggregate(ref.kind, "bolt", UUID(ref.id)) == (6, None)
        others = [kind for kind in KINDS if kind != ref.kind]
        assert {(await reader.aggregate(kind, ACME, UUID(ref.id)))[1] for kind in others} == {None}


async def test_the_summary_adds_up_one_community(books: Books, reader: Reader, command_log: CommandLog) -> None:
    await command_log.thank("ada", "bob", own_id=uuid_of(1))
    await command_log.execute(RecordFavour(actor="ada", giver="ada", receiver="bob", size="large", id=uuid_of(2)))
    await command_log.thank("ada", "bob", own_id=uuid_of(3), community="bolt")
    await command_log.execute(ProposeIntro(actor="bob", asker="bob", connector="ada", target="dee", id=uuid_of(4)))
    await command_log.execute(AcceptIntro(actor="ada", level=3), uuid_of(4))
    await command_log.execute(ConsentIntro(actor="dee"), uuid_of(4))
    await command_log.execute(MakeIntro(actor="ada"), uuid_of(4))
    await command_log.execute(JoinMember(actor="ada", member="ada"))
    await command_log.execute(OpenDispute(actor="bob", about=uuid_of(1), entry="favour.thanked", code="not_mine"))
    await books.write(await command_log.read_events())
    assert await reader.summary(ACME) == (
        9,
        Summary(
            members=2,
            main=-60,
            stake=60,
            disputed=0,
            given=240,
            received=240,
            states={
                "favour": {"claimed": 1, "posted": 1},
                "intro": {"made": 1},
                "member": {"active": 1},
                "dispute": {"opened": 1},
            },
        ),
    )


@pytest.mark.parametrize("limit", [1, 7, MANY, MANY + 1])
async def test_pages_of_balances_are_complete_and_repeat_nobody(
    books: Books, reader: Reader, command_log: CommandLog, limit: int
) -> None:
    members = [f"m{n}" for n in range(MANY - 1)]
    for n, member in enumerate(members):
        await command_log.thank("ada", member, own_id=uuid_of(n))
    await command_log.thank("ada", "in-another-community", own_id=uuid_of(1), community="bolt")
    await books.write(await command_log.read_events())
    found: list[MemberBalance] = []
    after = ""
    while (page := (await reader.balances(ACME, after, limit))[1]) and len(found) <= MANY:
        assert len(page) <= limit
        found += page
        after = page[-1].member
    assert [balance.member for balance in found] == sorted(["ada", *members])
    assert sum(balance.main for balance in found) == 0


@pytest.mark.parametrize("limit", [1, 7, MANY, MANY + 1])
async def test_pages_of_pairs_are_complete_and_repeat_nobody(
    books: Books, reader: Reader, command_log: CommandLog, limit: int
) -> None:
    others = [f"{'m' if n % 2 else 'a'}{n}" for n in range(MANY)]  # On either side of the one who asks.
    for n, other in enumerate(others):
        await command_log.thank("ada", other, own_id=uuid_of(n))
    await command_log.thank("m1", "m3", own_id=uuid_of(MANY))
    await command_log.thank("ada", "in-another-community", own_id=uuid_of(1), community="bolt")
    await books.write(await command_log.read_events())
    found: list[PairTally] = []
    after = ""
    while (page := (await reader.pairs(ACME, "ada", after, limit))[1]) and len(found) <= MANY:
        assert len(page) <= limit
        found += page
        after = page[-1].other
    assert found == [PairTally(other, 120, 0, "none") for other in sorted(others)]


async def test_books_without_a_checkpoint_are_a_bug(books: Books, reader: Reader) -> None:
    await books.execute("DELETE FROM checkpoint")
    with pytest.raises(Bug, match="no checkpoint"):
        await reader.position()
