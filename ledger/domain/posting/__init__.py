"""Posting: the rule that gives the entry of every event."""
