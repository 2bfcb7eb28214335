"""A deterministic simulation of the delivery core: one seed decides everything that happens."""
