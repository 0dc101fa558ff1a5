"""Sessions: what outlives a connection, where it is kept, and who answers its questions."""
