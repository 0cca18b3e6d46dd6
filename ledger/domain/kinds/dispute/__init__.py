"""Dispute: a member who was charged objects to an entry.

`opened -> upheld | rejected | lapsed`.
"""
