"""The services of the application that answers the current request."""

from typing import cast

from flask import Flask, current_app

from app.services import Services

_EXTENSION = "steadpost"


def register(app: Flask, services: Services) -> None:
    app.extensions[_EXTENSION] = services


def services() -> Services:
    return cast("Services", current_app.extensions[_EXTENSION])
