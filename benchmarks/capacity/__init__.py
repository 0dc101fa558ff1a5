"""The search for the largest load that a server holds."""
