"""The rules of the ledger: pure functions over values. No clock, no random, no input or output."""
