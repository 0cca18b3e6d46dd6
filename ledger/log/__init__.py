"""The log: the messages in JetStream, and how they are written and read. It is the only source of truth."""
