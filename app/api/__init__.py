"""The HTTP API: JSON in, JSON out."""
