"""Services: the HTTP faces of the ledger. Thin: they name the command or the query, and nothing else."""
