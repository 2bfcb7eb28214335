"""A master with replicas and Sentinels, whose master dies or hangs while mail flows."""
