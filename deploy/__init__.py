"""What runs the ledger: the command line, the embedded servers, the deployment files."""
