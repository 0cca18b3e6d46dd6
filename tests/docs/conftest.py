"""The command line in an empty folder, as the tests of deployment have it."""

from tests.deploy.conftest import command_line

__all__ = ["command_line"]
