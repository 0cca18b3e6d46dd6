"""Standing: what the read side computes of a member."""
