"""`migrate`: creates or updates the schema of the books."""

import click

from deploy.cli.environment import Failure, console, load_settings, run


@click.command()
def migrate() -> None:
    """Create the schema of the books, or update it.

    A schema that is up to date stays as it is. Books of an unreleased version are dropped; the projector derives them
    again from the log.
    """
    from ledger.books.connection import SchemaMissing
    from ledger.books.schema import migrate as migrate_books
    from ledger.runtime.unavailable import Unavailable

    settings = load_settings()
    try:
        applied = run(migrate_books(settings.books))
    except SchemaMissing as error:
        raise Failure(str(error)) from None
    except Unavailable as error:
        raise Failure(f"Postgres is unavailable at LEDGER_POSTGRES_DSN: {error}") from None
    console.print(f"Applied {', '.join(applied)}." if applied else "The schema is up to date.")
