"""Postgres and nats-server from their wheels, as child processes: for `referral-ledger up` and for tests.

Both write to disk as in production: fsync stays on. Each has one data folder, which holds its log, and which one
process at a time may use. A server that an earlier process left behind is stopped before a new one starts.
"""
