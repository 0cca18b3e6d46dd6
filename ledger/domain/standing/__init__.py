"""Standing: figures about a member, which the read side computes. See docs/domain.md#standing."""
