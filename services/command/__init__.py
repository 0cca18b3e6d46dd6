"""The command service: JSON in, one event in the log, the resource after it out."""
