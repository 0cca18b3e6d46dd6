"""S3: Nobody knows if networking events lead anywhere, and good matches are missed."""

from tests.stories.narrator import Story


async def test_the_matchmaker_and_the_fruitless_evening(story: Story) -> None:
    story.narrate("""
        Vera holds two evenings for the community, because everybody says that one should: a spring mixer, and a quiz
        night. Afterwards everybody says that it was nice. Vera would like to know whether it was any good.
    """)
    mixer, quiz = story.new_id("spring mixer"), story.new_id("quiz night")
    await story.post("/gatherings", {"actor": "vera", "host": "vera", "id": mixer}, show="state host")
    for guest in ("kim", "lou", "hal", "sue"):
        await story.post_silently("/attendances", {"actor": "vera", "gathering": mixer, "member": guest})
    story.narrate(
        "Four come to the mixer. Kim and Lou get to talking, and so do Hal and Sue. Each of the two may say so."
    )
    contact = {"actor": "kim", "member": "kim", "other": "lou", "gathering": mixer}
    met = await story.post("/contacts", contact, show="state member other")
    story.name_id(met["id"], "Kim and Lou")
    await story.post_silently("/contacts", {"actor": "sue", "member": "hal", "other": "sue", "gathering": mixer})

    await story.advance(7, "Three come to the quiz night. They win at quizzes.")
    await story.post_silently("/gatherings", {"actor": "vera", "host": "vera", "id": quiz})
    for guest in ("hal", "ned", "sue"):
        await story.post_silently("/attendances", {"actor": guest, "gathering": quiz, "member": guest})
    lunch = story.new_id("lunch")
    story.narrate(
        "Kim and Lou have lunch, to hear what the other one does. A one-to-one counts when both say it was held."
    )
    booked = {"actor": "lou", "member": "lou", "other": "kim", "id": lunch, "gathering": mixer}
    await story.post("/one-to-ones", booked)
    await story.post(f"/one-to-ones/{lunch}/hold", {"actor": "kim"}, show="state said")
    await story.post(f"/one-to-ones/{lunch}/hold", {"actor": "lou"})

    await story.advance(
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
    referral = await story.post("/referrals", given, show="state points")
    own = referral["id"]
    story.name_id(own, "the roof")
    story.narrate("Nothing is owed for that yet. Lou says that it is a real one, and three weeks later that it is his.")
    await story.post(f"/referrals/{own}/qualify", {"actor": "lou"})
    await story.advance(21, "The roof is a middling one: band M of S, M, L and XL.")
    await story.post(f"/referrals/{own}/win", {"actor": "lou", "band": "M"}, show="state band")
    has = await story.show_balances("kim", "lou")
    assert {name: (it["given"], it["received"]) for name, it in has.items()} == {"kim": (360, 0), "lou": (0, 360)}

    story.narrate("Now Vera lays the two evenings side by side:")
    found = await story.show_yields(mixer, quiz)
    assert [(it["contacts"], it["one_to_ones"], it["referrals_won"], it["points"]) for it in found] == [
        (2, 1, 1, 360),
        (0, 0, 0, 0),
    ]
    story.narrate("""
        One evening led to work and the other one to a good evening. Both are fine, but now she knows which is which.

        And she has noticed something. Kim is looking for an accountant. Sue is one, and was at the same mixer, at the
        other end of the room. Nobody has asked Vera for anything: she offers, and will bring them together in person,
        which is step five.
    """)
    match = story.new_id("match")
    offered = {
        "actor": "vera",
        "asker": "kim",
        "connector": "vera",
        "target": "sue",
        "level": 5,
        "id": match,
        "gathering": mixer,
    }
    await story.post("/intros", offered, show="state matchmade points")
    story.narrate("Nobody asked, so both are asked. One yes is not enough:")
    await story.post(f"/intros/{match}/consent", {"actor": "kim"}, show="state consented")
    await story.post_refused(
        f"/intros/{match}/make", {"actor": "vera"}, 409, "wrong_state", show="title expected found"
    )
    await story.advance(1, "Sue sleeps on it, and then says yes, too.")
    await story.post(f"/intros/{match}/consent", {"actor": "sue"})
    await story.post(f"/intros/{match}/make", {"actor": "vera"}, show="state points stake")
    await story.advance(5, "They sit down together, and Sue does Kim's books this year.")
    await story.post(f"/intros/{match}/meet", {"actor": "sue"})
    await story.post(f"/intros/{match}/close", {"actor": "kim", "outcome": "fruitful"}, show="state outcome")
    story.narrate(
        "Kim and Sue each owe her half. What Vera put at stake is hers again, and the mixer has one more to show."
    )
    has = await story.show_balances("vera", "kim", "sue", "lou")
    assert {name: (it["given"], it["received"], it["stake"]) for name, it in has.items()} == {
        "vera": (360, 0, 0),
        "kim": (360, 180, 0),
        "sue": (0, 180, 0),
        "lou": (0, 360, 0),
    }
    found = await story.show_yields(mixer, quiz)
    assert [(it["intros_made"], it["points"]) for it in found] == [(1, 720), (0, 0)]
    story.finish("The matchmaker and the fruitless evening")
