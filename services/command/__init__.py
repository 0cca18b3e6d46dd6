"""The command service: it takes a command as JSON, records one event, and returns the resource after it."""
