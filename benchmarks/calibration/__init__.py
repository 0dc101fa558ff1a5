"""The instrument against a server whose behaviour is known."""
