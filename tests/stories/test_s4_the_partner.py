"""S4: people are not mind readers: nobody says what they are looking for, and they ask before there is trust."""

from tests.stories.telling import Story


async def test_the_partner_who_never_said_what_he_was_looking_for(story: Story) -> None:
    story.tell("""
        Dana is a coach. Lou, with whom she shares an office, has been grumbling for a year that nobody ever sends him
        anybody. Dana would have, gladly. He never said whom he was looking for, and she is no mind reader.
    """)
    for member in ("dana", "lou", "mia", "ned"):
        await story.say_quietly("/members", {"actor": member, "member": member})
    await story.say_quietly("/members/mia/offers", {"actor": "mia", "tags": ["physiotherapy", "back-pain"]})
    await story.say_quietly("/members/ned/offers", {"actor": "ned", "tags": ["studio-space"]})
    await story.say_quietly("/contacts", {"actor": "dana", "member": "dana", "other": "mia"})
    found = await story.see("/members/lou/matches", viewer="lou", show="matches")
    assert found["matches"] == []

    await story.later(
        1,
        """
        So he says it, in two words, and what he has to offer as well. The ledger looks who has said the other half.
    """,
    )
    await story.say("/members/lou/wants", {"actor": "lou", "tags": ["physiotherapy", "studio-space"]}, show="wants")
    await story.say("/members/lou/offers", {"actor": "lou", "tags": ["running-groups"]}, show="offers")
    found = await story.see("/members/lou/matches", viewer="lou", show="matches")
    assert [match["nearness"] for match in found["matches"]] == ["other", "other"]
    story.tell("""
        Two people. But nobody whom Lou knows: as far as the ledger has heard, he does not even know Dana. That is soon
        mended. They do share an office.
    """)
    met = await story.say("/contacts", {"actor": "lou", "member": "lou", "other": "dana"})
    story.call(met["id"], "Lou and Dana")
    found = await story.see("/members/lou/matches", viewer="lou", show="matches")
    assert (found["matches"][0]["member"], found["matches"][0]["connector"]) == ("mia", "dana")
    story.tell("""
        Dana knows Mia, and could introduce him. Lou has the message half written when he looks at where the two of
        them are, he and Dana:
    """)
    await story.stage("lou", "dana", "contact")
    story.tell("""
        They have met. It is early for asking somebody to put in a good word. First they sit down, for once, for an
        hour, and not about the heating.
    """)
    hour = story.id("hour")
    await story.say_quietly("/one-to-ones", {"actor": "lou", "member": "lou", "other": "dana", "id": hour})
    await story.say_quietly(f"/one-to-ones/{hour}/hold", {"actor": "lou"})
    await story.say(f"/one-to-ones/{hour}/hold", {"actor": "dana"})
    await story.stage("lou", "dana", "one_to_one")

    await story.later(
        14,
        """
        Then each does the other one a good turn, as it comes. Dana takes two of his phone calls; Lou runs her website
        through the spelling. Each says thank you: only who received can.
    """,
    )
    calls, spelling = story.id("phone calls"), story.id("spelling")
    await story.say(
        "/favours",
        {"actor": "lou", "giver": "dana", "receiver": "lou", "size": "small", "id": calls},
        show="state points",
    )
    await story.stage("lou", "dana", "one_to_one")
    await story.say(
        "/favours",
        {"actor": "dana", "giver": "lou", "receiver": "dana", "size": "small", "id": spelling},
        show="state points",
    )
    await story.stage("lou", "dana", "trusted")

    await story.later(7, "Now the ask is an easy one, and so is the answer.")
    ask = story.id("ask")
    asked = {
        "actor": "lou",
        "asker": "lou",
        "connector": "dana",
        "target": "mia",
        "tags": ["physiotherapy"],
        "id": ask,
    }
    await story.say("/intros", asked, show="state visible_until")
    await story.say(f"/intros/{ask}/accept", {"actor": "dana", "level": 4}, show="state level points")
    await story.later(1, "Mia likes the sound of running groups. Dana arranges a call, and they meet.")
    await story.say(f"/intros/{ask}/consent", {"actor": "mia"})
    await story.say(f"/intros/{ask}/make", {"actor": "dana"}, show="state stake")
    await story.say(f"/intros/{ask}/meet", {"actor": "lou"})
    await story.say(f"/intros/{ask}/close", {"actor": "mia", "outcome": "fruitful"}, show="state outcome")

    story.tell("What the ledger shows Lou now. Mia is somebody he knows, and for the studio there is still Ned:")
    found = await story.see("/members/lou/matches", viewer="lou", show="matches")
    assert [(match["member"], match["nearness"]) for match in found["matches"]] == [("mia", "known"), ("ned", "other")]
    seen = await story.see("/members/lou/pairs", viewer="lou", show="pairs")
    assert [(pair["other"], pair["stage"]) for pair in seen["pairs"]] == [("dana", "trusted"), ("mia", "contact")]
    has = await story.balances("lou", "dana", "mia")
    assert {name: (it["given"], it["received"]) for name, it in has.items()} == {
        "lou": (60, 330),
        "dana": (300, 60),
        "mia": (30, 0),
    }
    story.tell("He owes a few. He knows to whom, and he has running groups to offer.")
    story.ends("The partner who never said what he was looking for")
