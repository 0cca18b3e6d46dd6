"""Benchmarks. `make bench` prints figures of this machine; compare figures of one run only, as ratios."""
