"""`provision`: creates the stream of the log."""

import click

from deploy.cli.environment import Failure, console, load_settings, run


@click.command()
def provision() -> None:
    """Make the log's stream, or check that it is as it must be. Not made anew under books of one that was lost."""
    from deploy.provisioning import StreamLost, provision_stream
    from ledger.books.connection import BooksUnavailable
    from ledger.log.stream import StreamDrift
    from ledger.runtime.unavailable import Unavailable

    settings = load_settings()
    try:
        created = run(provision_stream(settings))
    except BooksUnavailable as error:
        raise Failure(
            "There is no stream, and Postgres does not answer whether one was lost that books were written from: "
            f"{error}"
        ) from None
    except StreamLost as error:
        raise Failure(
            f"{error} If it is lost for good, drop that schema, and run `referral-ledger migrate` and this once more: "
            "everything begins anew."
        ) from None
    except (StreamDrift, Unavailable, TimeoutError) as error:
        raise Failure(str(error) or "NATS does not answer") from None
    console.print("The stream LEDGER was made." if created else "The stream LEDGER is as it must be.")
