"""Fixture for tests of the documents: the command line in an empty folder, shared with the tests of deployment."""

from tests.deploy.conftest import command_line

__all__ = ["command_line"]
