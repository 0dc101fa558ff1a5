"""Sessions: what outlives a connection, where it is stored, and who answers its questions."""
