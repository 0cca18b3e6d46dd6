"""Deployment of the ledger: command line, embedded servers, import, container and server configuration."""
