"""Measurements, not tests: `make bench` prints figures of the machine at hand, to be read as ratios of one run."""
