"""The books: tables in Postgres. They are derived from the log, and can be derived again at any time."""
