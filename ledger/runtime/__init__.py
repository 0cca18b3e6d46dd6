"""Runtime of every process: settings, telemetry, signals and garbage collection."""
