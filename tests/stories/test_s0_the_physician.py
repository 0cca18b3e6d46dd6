"""S0: Members who owe a favour still do not share a connection, because they fear for their reputation."""

from tests.stories.narrator import Story


async def test_the_physician_who_is_asked_for_a_colleague(story: Story) -> None:
    story.narrate("""
        Mara is a physician. Jon stood in for her through two hard weekends, and she has thanked him for it: she owes
        him. Now Jon would like to meet Lena, a cardiologist and an old friend of hers. Mara hesitates. If it goes
        badly, it is her name that suffers.
    """)
    thanks = story.new_id("two weekends")
    await story.post_silently("/favours", thanked("jon", "mara", thanks))
    ask = story.new_id("first ask")
    asked = {"actor": "jon", "asker": "jon", "connector": "mara", "target": "lena", "id": ask, "tags": ["cardiology"]}
    await story.post("/intros", asked, show="state visible_until")

    await story.advance(
        1,
        """
        Mara says how far she vouches. There are five steps, from "you may mention me" to bringing the two together in
        person. She chooses the third: she will say a good word for Jon. Half of what the introduction is worth is her
        stake: it stays hers unless she lets somebody down.
    """,
    )
    await story.post(f"/intros/{ask}/accept", {"actor": "mara", "level": 3}, show="state level points")
    story.narrate("Nobody is introduced to anybody without having agreed. Lena is asked, too, and she likes the idea.")
    await story.post(f"/intros/{ask}/consent", {"actor": "lena"})
    story.narrate("Only now does Mara introduce them. Jon, who has seen nothing but `pending` so far, sees it too.")
    await story.post(f"/intros/{ask}/make", {"actor": "mara"}, show="state points stake")
    await story.get(f"/intros/{ask}", viewer="jon", show="state level points")
    has = await story.show_balances("mara")
    assert (has["mara"]["net"], has["mara"]["stake"]) == (-120, 60)

    await story.advance(7, "Jon and Lena have had coffee. Jon says so, and thanks Lena for her hour with 30 points.")
    await story.post(f"/intros/{ask}/meet", {"actor": "jon"})
    await story.post(f"/intros/{ask}/close", {"actor": "lena", "outcome": "fruitful"}, show="state outcome fault")
    has = await story.show_balances("jon", "mara", "lena")
    assert {name: (it["given"], it["received"], it["stake"]) for name, it in has.items()} == {
        "jon": (240, 150, 0),
        "mara": (120, 240, 0),
        "lena": (30, 0, 0),
    }
    story.narrate("""
        Mara's stake is hers again. What she and Jon have done for each other is between the two of them: each sees it
        from their own side, and nobody else sees it at all.
    """)
    await story.get("/members/mara/pairs/jon", viewer="mara", show="given received stage")
    await story.get("/members/jon/pairs/mara", viewer="jon", show="given received stage")
    await story.get_refused("/members/mara/pairs/jon", viewer="lena")

    await story.advance(
        14,
        """
        And when it goes badly? Rolf asks Mara for Emil, a surgeon. She arranges the call herself, which is step four:
        240 points, and 120 of hers at stake.
    """,
    )
    ask = story.new_id("second ask")
    await story.post_silently(
        "/intros", {"actor": "rolf", "asker": "rolf", "connector": "mara", "target": "emil", "id": ask}
    )
    await story.post_silently(f"/intros/{ask}/accept", {"actor": "mara", "level": 4})
    await story.post_silently(f"/intros/{ask}/consent", {"actor": "emil"})
    await story.post(f"/intros/{ask}/make", {"actor": "mara"}, show="state level points stake")

    await story.advance(
        10,
        """
        Emil sat by the phone twice. Rolf never called, and does not answer. This is what Mara was afraid of, and this
        is where the ledger stands by her: she says what happened, and the points are set aside until somebody who has
        no part in it has had a look.
    """,
    )
    said = {"actor": "mara", "about": ask, "entry": "intro.made", "code": "asker_ghosted"}
    opened = await story.post("/disputes", said, show="state code fault owed")
    story.name_id(opened["id"], "dispute")
    await story.advance(2, "Ida moderates the community. She talks with all three, and agrees with Mara.")
    await story.post(f"/disputes/{opened['id']}/uphold", {"actor": "ida"}, show="state remedy fault", moderator=True)
    await story.post(
        f"/intros/{ask}/close", {"actor": "mara", "outcome": "no_result"}, show="state outcome fault settled"
    )
    story.narrate("""
        Mara keeps what the introduction was worth and has her stake back, and Rolf owes 60 points each to her and to
        Emil, for the trouble.
    """)
    has = await story.show_balances("rolf", "mara", "emil")
    assert {name: (it["given"], it["received"], it["stake"]) for name, it in has.items()} == {
        "rolf": (0, 360, 0),
        "mara": (420, 240, 0),
        "emil": (60, 0, 0),
    }
    story.narrate("""
        Her name has not suffered either. Of the introductions in which she could have let somebody down, she let
        nobody down; what Rolf did is counted as his. The shares are in thousandths, and each of them sees their own.
    """)
    mara = await story.get("/members/mara/standing", viewer="mara", show="band reliability_permille")
    rolf = await story.get("/members/rolf/standing", viewer="rolf", show="band reliability_permille")
    assert (mara["reliability_permille"], rolf["reliability_permille"]) == (750, 333)
    await story.get_refused("/members/rolf/standing", viewer="emil")
    story.finish("The physician who is asked for a colleague")


def thanked(giver: str, receiver: str, own: str) -> dict[str, str]:
    return {"actor": receiver, "giver": giver, "receiver": receiver, "size": "large", "id": own}
