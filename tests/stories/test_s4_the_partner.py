"""S4: Members cannot guess wants. Nobody states what they look for, and members ask before there is trust."""

from tests.stories.narrator import Story


async def test_the_partner_who_never_said_what_he_was_looking_for(story: Story) -> None:
    story.narrate("""
        Dana is a coach. Lou, with whom she shares an office, has been grumbling for a year that nobody ever sends him
        anybody. Dana would have, gladly. He never said whom he was looking for, and she is no mind reader.
    """)
    for member in ("dana", "lou", "mia", "ned"):
        await story.post_silently("/members", {"actor": member, "member": member})
    await story.post_silently("/members/mia/offers", {"actor": "mia", "tags": ["physiotherapy", "back-pain"]})
    await story.post_silently("/members/ned/offers", {"actor": "ned", "tags": ["studio-space"]})
    await story.post_silently("/contacts", {"actor": "dana", "member": "dana", "other": "mia"})
    found = await story.get("/members/lou/matches", viewer="lou", show="matches")
    assert found["matches"] == []

    await story.advance(
        1,
        """
        So he says it, in two words, and what he has to offer as well. The ledger looks who has said the other half.
    """,
    )
    await story.post("/members/lou/wants", {"actor": "lou", "tags": ["physiotherapy", "studio-space"]}, show="wants")
    await story.post("/members/lou/offers", {"actor": "lou", "tags": ["running-groups"]}, show="offers")
    found = await story.get("/members/lou/matches", viewer="lou", show="matches")
    assert [match["nearness"] for match in found["matches"]] == ["other", "other"]
    story.narrate("""
        Two people. But nobody whom Lou knows: as far as the ledger has heard, he does not even know Dana. That is soon
        mended. They do share an office.
    """)
    met = await story.post("/contacts", {"actor": "lou", "member": "lou", "other": "dana"})
    story.name_id(met["id"], "Lou and Dana")
    found = await story.get("/members/lou/matches", viewer="lou", show="matches")
    assert (found["matches"][0]["member"], found["matches"][0]["connector"]) == ("mia", "dana")
    story.narrate("""
        Dana knows Mia, and could introduce him. Lou has the message half written when he looks at where the two of
        them are, he and Dana:
    """)
    await story.show_stage("lou", "dana", "contact")
    story.narrate("""
        They have met. It is early for asking somebody to put in a good word. First they sit down, for once, for an
        hour, and not about the heating.
    """)
    hour = story.new_id("hour")
    await story.post_silently("/one-to-ones", {"actor": "lou", "member": "lou", "other": "dana", "id": hour})
    await story.post_silently(f"/one-to-ones/{hour}/hold", {"actor": "lou"})
    await story.post(f"/one-to-ones/{hour}/hold", {"actor": "dana"})
    await story.show_stage("lou", "dana", "one_to_one")

    await story.advance(
        14,
        """
        Then each does the other one a good turn, as it comes. Dana takes two of his phone calls; Lou runs her website
        through the spelling. Each says thank you: only who received can.
    """,
    )
    calls, spelling = story.new_id("phone calls"), story.new_id("spelling")
    await story.post(
        "/favours",
        {"actor": "lou", "giver": "dana", "receiver": "lou", "size": "small", "id": calls},
        show="state points",
    )
    await story.show_stage("lou", "dana", "one_to_one")
    await story.post(
        "/favours",
        {"actor": "dana", "giver": "lou", "receiver": "dana", "size": "small", "id": spelling},
        show="state points",
    )
    await story.show_stage("lou", "dana", "trusted")

    await story.advance(7, "Now the ask is an easy one, and so is the answer.")
    ask = story.new_id("ask")
    asked = {
        "actor": "lou",
        "asker": "lou",
        "connector": "dana",
        "target": "mia",
        "tags": ["physiotherapy"],
        "id": ask,
    }
    await story.post("/intros", asked, show="state visible_until")
    await story.post(f"/intros/{ask}/accept", {"actor": "dana", "level": 4}, show="state level points")
    await story.advance(1, "Mia likes the sound of running groups. Dana arranges a call, and they meet.")
    await story.post(f"/intros/{ask}/consent", {"actor": "mia"})
    await story.post(f"/intros/{ask}/make", {"actor": "dana"}, show="state stake")
    await story.post(f"/intros/{ask}/meet", {"actor": "lou"})
    await story.post(f"/intros/{ask}/close", {"actor": "mia", "outcome": "fruitful"}, show="state outcome")

    story.narrate("What the ledger shows Lou now. Mia is somebody he knows, and for the studio there is still Ned:")
    found = await story.get("/members/lou/matches", viewer="lou", show="matches")
    assert [(match["member"], match["nearness"]) for match in found["matches"]] == [("mia", "known"), ("ned", "other")]
    seen = await story.get("/members/lou/pairs", viewer="lou", show="pairs")
    assert [(pair["other"], pair["stage"]) for pair in seen["pairs"]] == [("dana", "trusted"), ("mia", "contact")]
    has = await story.show_balances("lou", "dana", "mia")
    assert {name: (it["given"], it["received"]) for name, it in has.items()} == {
        "lou": (60, 330),
        "dana": (300, 60),
        "mia": (30, 0),
    }
    story.narrate("He owes a few. He knows to whom, and he has running groups to offer.")
    story.finish("The partner who never said what he was looking for")
