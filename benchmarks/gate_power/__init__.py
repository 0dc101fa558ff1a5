"""How often the gate cries wolf, and what it finds: measured on heads slower by design."""
