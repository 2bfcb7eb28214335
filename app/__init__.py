"""The service: an HTTP API and pages in front of a delivery core."""
