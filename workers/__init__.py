"""The worker processes: they take jobs from RQ's queue and let the core do the work."""
