"""Workers: each reads the log and does one thing with it."""
