"""Postgres and nats-server from wheels, as child processes: for `referral-ledger up` and for tests.

Both sync to disk as in production. Each has one data folder, which also contains its log file. One process at a time
may use the folder. A server that an earlier process left running is stopped before a new one starts.
"""
