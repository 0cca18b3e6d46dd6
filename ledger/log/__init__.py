"""The log, the only truth: what is written to JetStream, and how it is written and read."""
