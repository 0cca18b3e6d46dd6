"""The books, in Postgres: derived from the log, and derivable again at any time."""
