"""Kinds of aggregate, one module or package each: states, events, commands, evolve and decide."""
