"""`migrate`: brings the schema of the books up to date."""

import click

from deploy.cli.environment import Failure, console, load_settings, run


@click.command()
def migrate() -> None:
    """Bring the books' schema up to date. Leaves alone what is already so."""
    from ledger.books.connection import SchemaMissing
    from ledger.books.schema import migrate as bring_up_to_date
    from ledger.runtime.unavailable import Unavailable

    settings = load_settings()
    try:
        applied = run(bring_up_to_date(settings.books))
    except SchemaMissing as error:
        raise Failure(str(error)) from None
    except Unavailable as error:
        raise Failure(f"Postgres does not answer: {error}") from None
    console.print(f"Applied {', '.join(applied)}." if applied else "The books are up to date.")
