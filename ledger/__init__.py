"""The referral ledger: its rules, its log and its books."""
