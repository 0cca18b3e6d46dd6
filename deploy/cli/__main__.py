"""`python -m deploy.cli`: the command line, for processes that the supervisor starts."""

from deploy.cli.main import main

if __name__ == "__main__":
    main(prog_name="referral-ledger")
