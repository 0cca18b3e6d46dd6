"""Values: ids, points, policy, refusals, entries and the base types of events, states and commands."""
