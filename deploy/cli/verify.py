"""`verify`: compares the books with the log."""

from typing import Any, Final

import click

from deploy.cli.environment import Failure, console, load_settings, run

DIFFERENCES_PRINTED_MAX: Final = 10


@click.command()
def verify() -> None:
    """Compare the books with the log.

    The command derives all balances, postings and aggregates from the log a second time. It changes nothing. The exit
    status is 1 if anything differs.
    """
    from ledger.audit.comparison import audit
    from ledger.books.connection import SchemaMissing
    from ledger.log.connection import connect_within
    from ledger.log.jetstream import JetStreamLog
    from ledger.runtime.unavailable import Unavailable
    from ledger.runtime.urls import without_password

    settings = load_settings()

    async def compare() -> Any:
        async with connect_within(settings.nats_url, "verify") as connection:
            return await audit(JetStreamLog(connection), settings.books)

    try:
        report = run(compare())
    except (Unavailable, SchemaMissing) as error:
        raise Failure(str(error)) from None
    except TimeoutError:
        raise Failure(f"NATS is unavailable at {without_password(settings.nats_url)}") from None
    behind = f" ({report.behind:,} behind the log)" if report.behind else ""
    console.print(
        f"Compared {report.events:,} events, {report.postings:,} postings and {report.members:,} members "
        f"up to position {report.position:,}{behind}.",
        soft_wrap=True,
    )
    for difference in report.differences[:DIFFERENCES_PRINTED_MAX]:
        console.print(f"  {difference}", soft_wrap=True, markup=False)
    if report.differences:
        noun = "difference" if len(report.differences) == 1 else "differences"
        raise Failure(f"{len(report.differences):,} {noun} between the log and the books.")
    console.print("The books match the log: no difference, and all accounts sum to zero.")
