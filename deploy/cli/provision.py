"""`provision`: creates the stream of the log."""

import click

from deploy.cli.environment import Failure, console, load_settings, run


@click.command()
def provision() -> None:
    """Create the stream of the log, or check it.

    Without a stream, nothing is created if the books contain events: the stream was lost then.
    """
    from deploy.provisioning import StreamLost, provision_stream
    from ledger.books.connection import BooksUnavailable
    from ledger.log.stream import StreamDrift
    from ledger.runtime.unavailable import Unavailable
    from ledger.runtime.urls import without_password

    settings = load_settings()
    try:
        created = run(provision_stream(settings))
    except BooksUnavailable as error:
        raise Failure(
            "There is no stream. Postgres is unavailable, so it is unknown whether the books were written from a lost "
            f"stream: {error}"
        ) from None
    except StreamLost as error:
        raise Failure(
            f"{error} If it is lost for good, drop that schema, then run `referral-ledger migrate` and "
            "`referral-ledger provision`: the ledger starts again without events."
        ) from None
    except TimeoutError:
        raise Failure(f"NATS is unavailable at {without_password(settings.nats_url)}") from None
    except (StreamDrift, Unavailable) as error:
        raise Failure(str(error)) from None
    console.print("The stream LEDGER was created." if created else "The stream LEDGER is as defined.")
