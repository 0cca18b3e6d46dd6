"""S3: nobody knows whether networking events lead anywhere, and good matches are missed."""

from tests.stories.telling import Story


async def test_the_matchmaker_and_the_fruitless_evening(story: Story) -> None:
    story.tell("""
        Vera holds two evenings for the community, because everybody says that one should: a spring mixer, and a quiz
        night. Afterwards everybody says that it was nice. Vera would like to know whether it was any good.
    """)
    mixer, quiz = story.id("spring mixer"), story.id("quiz night")
    await story.say("/gatherings", {"actor": "vera", "host": "vera", "id": mixer}, show="state host")
    for guest in ("kim", "lou", "hal", "sue"):
        await story.say_quietly("/attendances", {"actor": "vera", "gathering": mixer, "member": guest})
    story.tell("Four come to the mixer. Kim and Lou get to talking, and so do Hal and Sue. Each of the two may say so.")
    contact = {"actor": "kim", "member": "kim", "other": "lou", "gathering": mixer}
    met = await story.say("/contacts", contact, show="state member other")
    story.call(met["id"], "Kim and Lou")
    await story.say_quietly("/contacts", {"actor": "sue", "member": "hal", "other": "sue", "gathering": mixer})

    await story.later(7, "Three come to the quiz night. They win at quizzes.")
    await story.say_quietly("/gatherings", {"actor": "vera", "host": "vera", "id": quiz})
    for guest in ("hal", "ned", "sue"):
        await story.say_quietly("/attendances", {"actor": guest, "gathering": quiz, "member": guest})
    lunch = story.id("lunch")
    story.tell(
        "Kim and Lou have lunch, to hear what the other one does. A one-to-one counts when both say it was held."
    )
    booked = {"actor": "lou", "member": "lou", "other": "kim", "id": lunch, "gathering": mixer}
    await story.say("/one-to-ones", booked)
    await story.say(f"/one-to-ones/{lunch}/hold", {"actor": "kim"}, show="state said")
    await story.say(f"/one-to-ones/{lunch}/hold", {"actor": "lou"})

    await story.later(
        14,
        """
        A client of Kim's needs a roof, and Lou is a roofer. Kim has told the client to expect his call, and arranged
        it: step four of five. Kim says that it came from the mixer.
    """,
    )
    given = {
        "actor": "kim",
        "referrer": "kim",
        "recipient": "lou",
        "prospect": "client-12",
        "level": 4,
        "gathering": mixer,
    }
    referral = await story.say("/referrals", given, show="state points")
    own = referral["id"]
    story.call(own, "the roof")
    story.tell("Nothing is owed for that yet. Lou says that it is a real one, and three weeks later that it is his.")
    await story.say(f"/referrals/{own}/qualify", {"actor": "lou"})
    await story.later(21, "The roof is a middling one: band M of S, M, L and XL.")
    await story.say(f"/referrals/{own}/win", {"actor": "lou", "band": "M"}, show="state band")
    has = await story.balances("kim", "lou")
    assert {name: (it["given"], it["received"]) for name, it in has.items()} == {"kim": (360, 0), "lou": (0, 360)}

    story.tell("Now Vera lays the two evenings side by side:")
    found = await story.yields(mixer, quiz)
    assert [(it["contacts"], it["one_to_ones"], it["referrals_won"], it["points"]) for it in found] == [
        (2, 1, 1, 360),
        (0, 0, 0, 0),
    ]
    story.tell("""
        One evening led to work and the other one to a good evening. Both are fine, but now she knows which is which.

        And she has noticed something. Kim is looking for an accountant. Sue is one, and was at the same mixer, at the
        other end of the room. Nobody has asked Vera for anything: she offers, and will bring them together in person,
        which is step five.
    """)
    match = story.id("match")
    offered = {
        "actor": "vera",
        "asker": "kim",
        "connector": "vera",
        "target": "sue",
        "level": 5,
        "id": match,
        "gathering": mixer,
    }
    await story.say("/intros", offered, show="state matchmade points")
    story.tell("Nobody asked, so both are asked. One yes is not enough:")
    await story.say(f"/intros/{match}/consent", {"actor": "kim"}, show="state consented")
    await story.is_refused(f"/intros/{match}/make", {"actor": "vera"}, 409, "wrong_state", show="title expected found")
    await story.later(1, "Sue sleeps on it, and then says yes, too.")
    await story.say(f"/intros/{match}/consent", {"actor": "sue"})
    await story.say(f"/intros/{match}/make", {"actor": "vera"}, show="state points stake")
    await story.later(5, "They sit down together, and Sue does Kim's books this year.")
    await story.say(f"/intros/{match}/meet", {"actor": "sue"})
    await story.say(f"/intros/{match}/close", {"actor": "kim", "outcome": "fruitful"}, show="state outcome")
    story.tell(
        "Kim and Sue each owe her half. What Vera put at stake is hers again, and the mixer has one more to show."
    )
    has = await story.balances("vera", "kim", "sue", "lou")
    assert {name: (it["given"], it["received"], it["stake"]) for name, it in has.items()} == {
        "vera": (360, 0, 0),
        "kim": (360, 180, 0),
        "sue": (0, 180, 0),
        "lou": (0, 360, 0),
    }
    found = await story.yields(mixer, quiz)
    assert [(it["intros_made"], it["points"]) for it in found] == [(1, 720), (0, 0)]
    story.ends("The matchmaker and the fruitless evening")
