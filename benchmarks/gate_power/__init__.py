"""How often the gate raises false alarms, and what it finds: measured on heads slower by design."""
