"""Chaos: the whole service under load while its processes die, and a judge that counts the mail."""
