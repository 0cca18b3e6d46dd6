"""A printed URL contains no password."""

import pytest

from ledger.runtime.urls import without_password


@pytest.mark.parametrize(
    ("url", "printed"),
    [
        ("nats://user:secret@nats:4222", "nats://***@nats:4222"),
        ("tls://secret@nats", "tls://***@nats"),
        ("user:secret@nats:4222", "***@nats:4222"),
        ("nats://user:sec@ret@nats:4222", "nats://***@nats:4222"),
        ("nats://user:sec/ret?#@[::1]:4222", "nats://***@[::1]:4222"),
        ("nats://user:sec\nret@nats", "nats://***@nats"),
        ("nats://a:secret@one,nats://b:secret@two", "nats://***@two"),
        ("http://user:secret@nats:8222/jsz", "http://***@nats:8222/jsz"),
    ],
)
def test_user_password_and_token_of_a_url_are_replaced(url: str, printed: str) -> None:
    assert without_password(url) == printed


@pytest.mark.parametrize("url", ["nats://nats:4222", "nats:4222", "", "http://nats:8222/jsz?config=1"])
def test_a_url_without_a_password_is_printed_as_it_is(url: str) -> None:
    assert without_password(url) == url
