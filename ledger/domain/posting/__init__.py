"""Posting: the entry of every event."""
