"""The pages: a person's way to send a mail by hand and to see what becomes of it."""

from flask import Flask

from app.services import Services


def register(app: Flask, services: Services) -> None:
    """Adds the pages to the application."""
