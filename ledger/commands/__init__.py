"""Commands: identity, decision and execution, above the log and the books."""
