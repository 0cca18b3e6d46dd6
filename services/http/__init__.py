"""What both HTTP services share: problems, conventions, authorisation, views, documentation."""
