"""What every process needs around the work: settings, telemetry, signals."""
