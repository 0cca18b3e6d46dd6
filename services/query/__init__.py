"""The query service: reads the books."""
