"""S2: Some members only receive. They ask for introductions and bring nothing."""

from datetime import timedelta
from typing import Final

from tests.stories.narrator import Story

DAY: Final = timedelta(days=1)
HELPERS: Final = ("ana", "bo", "cara", "dev", "eli")


async def test_the_one_who_only_ever_asked(story: Story) -> None:
    story.narrate("""
        Rex joined in spring and has been busy since: asking. Five people have done him a good turn, and he has thanked
        each of them, as one does. He has not done one himself.
    """)
    await story.post("/members", {"actor": "rex", "member": "rex"}, show="state joined_at")
    for helper in HELPERS:
        own = story.new_id(f"{helper}'s favour")
        await story.post_silently(
            "/favours", {"actor": "rex", "giver": helper, "receiver": "rex", "size": "medium", "id": own}
        )
    await story.show_balances("rex", "ana")

    await story.advance(
        100,
        """
        Summer. Rex offers nothing and comes to nothing, and asks Nora to introduce him to Paul. He is told where he
        stands, and three things that he could do today. They are things, not reproaches: Ana says that she proofread
        a letter for him and waits for him to agree, and there is more where that came from.
    """,
    )
    claim = story.new_id("Ana's letter")
    await story.post_silently(
        "/favours", {"actor": "ana", "giver": "ana", "receiver": "rex", "size": "small", "id": claim}
    )
    first = story.new_id("first ask")
    asked = {"actor": "rex", "asker": "rex", "connector": "nora", "target": "paul", "id": first}
    view = await story.post("/intros", asked, show="state advice")
    assert view["advice"]["verdict"] == "riding"
    assert [way["way"] for way in view["advice"]["ways"]] == ["confirm_favour", "set_offers", "make_contact"]
    story.narrate("""
        Nora is told the facts, and none of his other business. What she makes of them is up to her. She declines, and
        Rex will read what everybody reads: `pending`, and one day `not_now`.
    """)
    view = await story.get(f"/intros/{first}", viewer="nora", show="state advice")
    assert "ways" not in view["advice"]
    await story.post_silently(f"/intros/{first}/decline", {"actor": "nora"})
    await story.get(f"/intros/{first}", viewer="rex", show="state")

    await story.advance(
        1,
        """
        He is not the only one, and the community has had enough. It decides that from tomorrow on, who is this far
        behind gives something before asking again. Everything else stays as it is.
    """,
    )
    starts_at = (story.now.replace(hour=0) + DAY).isoformat()
    published = await story.post(
        "/policies",
        {"actor": "ida", "policy": {"guard": "enforce"}, "starts_at": starts_at},
        show="state",
        moderator=True,
    )
    story.name_id(published["id"], "policy")

    await story.advance(2, "Rex tries Lia, for Max. This time the answer is no, with the reason, and with the way out.")
    second = story.new_id("second ask")
    asked = {"actor": "rex", "asker": "rex", "connector": "lia", "target": "max", "id": second}
    await story.post_refused(
        "/intros", asked, 409, "reciprocity_limit", show="title net limit given received received_items ways"
    )
    story.narrate("""
        Only asking is refused. Saying thank you never is, nor is anything that gives. He agrees that Ana read his
        letter, though it takes him further down.
    """)
    await story.post(f"/favours/{claim}/confirm", {"actor": "rex"}, show="state points")
    story.narrate("""
        And Rex, it turns out, can do something: he mends Lia's website, and a server for Bo. He says what he has to
        offer, so that others find him.
    """)
    await story.post("/members/rex/offers", {"actor": "rex", "tags": ["websites", "servers"]}, show="offers")
    for receiver, size in (("lia", "large"), ("bo", "large")):
        mended = story.new_id(f"{receiver.capitalize()}'s thanks")
        await story.post(
            "/favours",
            {"actor": receiver, "giver": "rex", "receiver": receiver, "size": size, "id": mended},
            show="state points",
        )

    await story.advance(
        7,
        """
        He also turns up. At the summer breakfast he helps to carry chairs, and pays his share. The host says so, for
        nobody can say it of himself.
    """,
    )
    breakfast = story.new_id("summer breakfast")
    await story.post("/gatherings", {"actor": "ida", "host": "ida", "dues": True, "id": breakfast}, show="state dues")
    there = await story.post(
        "/attendances", {"actor": "rex", "gathering": breakfast, "member": "rex"}, show="state member"
    )
    story.name_id(there["id"], "Rex at breakfast")
    await story.post_refused(f"/attendances/{there['id']}/pay", {"actor": "rex"}, 403, "not_yours", show="title role")
    await story.post(f"/attendances/{there['id']}/pay", {"actor": "ida"})
    await story.get(f"/gatherings/{breakfast}/yield", show="attended paid")
    story.narrate("And now he asks Lia again. She knows him by now.")
    view = await story.post("/intros", asked, show="state advice")
    assert view["advice"]["verdict"] == "ok"
    story.narrate("Where they stand, at the end of it:")
    has = await story.show_balances("rex", "ana", "lia")
    assert {name: (it["given"], it["received"]) for name, it in has.items()} == {
        "rex": (480, 660),
        "ana": (180, 0),
        "lia": (0, 240),
    }
    standing = await story.get("/members/rex/standing", viewer="rex", show="band net limit")
    assert standing["band"] == "even"
    story.narrate("""
        Fay is new, and has given nothing either. She is not Rex: Nora brought her along, and a newcomer whom somebody
        brings along may take more than one favour before anybody raises an eyebrow. A hand up, not a handout.
    """)
    await story.post("/members", {"actor": "fay", "member": "fay", "sponsor": "nora"}, show="state sponsor")
    await story.get("/members/fay/standing", viewer="fay", show="band net limit")
    own = story.new_id("Fay's ask")
    asked = {"actor": "fay", "asker": "fay", "connector": "nora", "target": "paul", "id": own}
    view = await story.post("/intros", asked, show="state advice")
    assert view["advice"]["verdict"] == "ok"
    story.finish("The one who only ever asked")
