"""The catalog: all kinds, events and operations, as tables."""
