"""The command line `referral-ledger`, one module per command."""
