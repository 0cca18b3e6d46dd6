"""S1: Members do not ask, because they fear a no."""

from typing import Final

from tests.stories.narrator import Story

NOTHING: Final = {"main": 0, "stake": 0, "disputed": 0, "given": 0, "received": 0}


async def test_the_client_who_dares_to_ask_again(story: Story) -> None:
    story.narrate("""
        Tess works with a coach, because asking is hard for her. Her homework: ask Omar to introduce her to Ines, who
        runs a gallery. She would rather not. She gives it one chance in ten, and says so where only she will see it.
    """)
    first = story.new_id("first ask")
    asked = {"actor": "tess", "asker": "tess", "connector": "omar", "target": "ines", "id": first}
    view = await story.post("/intros", {**asked, "expects_percent": 10}, show="state visible_until expects_percent")
    assert view["state"] == "pending"

    await story.advance(
        1,
        """
        Omar has a full week, and would rather not. He says so to the ledger and to nobody else: that is how a no is,
        unless he chooses to tell her.
    """,
    )
    await story.post(f"/intros/{first}/decline", {"actor": "omar"})
    story.narrate("Tess sees what she would see if Omar were on holiday. Nothing has been taken from her for asking.")
    view = await story.get(f"/intros/{first}", viewer="tess", show="state visible_until")
    assert view["state"] == "pending"
    has = await story.get("/members/tess/balance", viewer="tess", show="given received net")
    assert NOTHING.items() <= has.items()

    await story.advance(
        9,
        """
        She asks somebody else in the meantime: Pia, for Sam, who teaches at the art school. One chance in five, she
        thinks. Pia is glad to, and so is Sam.
    """,
    )
    second = story.new_id("second ask")
    asked = {"actor": "tess", "asker": "tess", "connector": "pia", "target": "sam", "id": second}
    await story.post("/intros", {**asked, "expects_percent": 20}, show="state expects_percent")
    await story.post_silently(f"/intros/{second}/accept", {"actor": "pia", "level": 2})
    await story.post_silently(f"/intros/{second}/consent", {"actor": "sam"})
    await story.post_silently(f"/intros/{second}/make", {"actor": "pia"})
    await story.get(f"/intros/{second}", viewer="tess", show="state level points")

    await story.advance(
        14,
        """
        The day has come that was named when Tess asked Omar. From today on it reads `not_now`. It would read the same,
        from the same day on, if Omar had never looked, or if Ines had said no. Silence ends by itself, and it does not
        say whose it was.
    """,
    )
    view = await story.get(f"/intros/{first}", viewer="tess", show="state visible_until")
    assert view["state"] == "not_now"

    await story.advance(
        6,
        """
        Tess looks at what she can learn from her own asks. Nobody else can, not even Omar.
    """,
    )
    coached = await story.get(
        "/members/tess/coach",
        viewer="tess",
        show="asks answered yes actual_permille expected_permille days_to_yes again",
    )
    assert (coached["actual_permille"], coached["expected_permille"]) == (500, 150)
    assert [again["intro"] for again in coached["again"]] == [first]
    await story.get_refused("/members/tess/coach", viewer="omar")
    story.narrate("""
        She expected a yes to three asks in twenty, and got one to one in two. Most people expect about half of what
        they get. And there is one ask that may be tried again today: the one to Omar. So she does.
    """)
    third = story.new_id("third ask")
    asked = {"actor": "tess", "asker": "tess", "connector": "omar", "target": "ines", "id": third}
    view = await story.post("/intros", {**asked, "expects_percent": 40}, show="state expects_percent advice")
    assert view["advice"]["verdict"] == "ok"

    await story.advance(2, "Omar's week is a better one. He is happy to, Ines agrees, and they meet at the gallery.")
    await story.post(f"/intros/{third}/accept", {"actor": "omar", "level": 3})
    await story.post_silently(f"/intros/{third}/consent", {"actor": "ines"})
    await story.post_silently(f"/intros/{third}/make", {"actor": "omar"})
    await story.post(f"/intros/{third}/meet", {"actor": "tess"})
    await story.post(f"/intros/{third}/close", {"actor": "tess", "outcome": "fruitful"}, show="state outcome")
    story.narrate("What Tess may expect, from now on:")
    coached = await story.get(
        "/members/tess/coach", viewer="tess", show="asks answered yes actual_permille expected_permille days_to_yes"
    )
    assert (coached["asks"], coached["yes"], coached["actual_permille"]) == (3, 2, 667)
    story.narrate("""
        And what is left of Omar's no: nothing. Not on Tess, and not on Omar, who has given like everybody else.
    """)
    has = await story.show_balances("tess", "omar", "pia", "ines")
    assert {name: (it["given"], it["received"]) for name, it in has.items()} == {
        "tess": (0, 210),
        "omar": (120, 0),
        "pia": (60, 0),
        "ines": (30, 0),
    }
    await story.get("/members/omar/standing", viewer="omar", show="band reciprocity_permille reliability_permille")
    story.finish("The client who dares to ask again")
