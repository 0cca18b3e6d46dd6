"""`python -m deploy.cli`: the command line, for processes that the supervisor starts."""

from deploy.cli.main import main

main(prog_name="referral-ledger")
