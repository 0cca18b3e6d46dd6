"""The domain rules: pure functions over values, without clock, randomness or I/O. See docs/domain.md."""
