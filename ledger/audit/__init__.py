"""The audit: derives everything from the log again, with a fold of its own, and compares the books with it."""
