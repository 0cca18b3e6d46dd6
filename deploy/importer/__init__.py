"""Import of a file of favours, referrals, intros or commands through the API."""
