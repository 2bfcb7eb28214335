"""The pages: a person's way to send a mail by hand and to see what becomes of it."""

from pathlib import Path

from flask import Blueprint, Flask

from app.services import Services
from app.web import (
    assets,
    callbacks,
    compose,
    faults,
    headers,
    login,
    outbox,
    previews,
    rendering,
    routing,
    session,
    suppressions,
    tracking,
    unsubscribing,
)

_TEMPLATES = Path(__file__).parents[2] / "templates"


def register(app: Flask, services: Services) -> None:
    """Adds the pages to the application."""
    session.register(app, services.settings)
    headers.register(app)
    assets.register(app)
    rendering.register(app)
    pages = Blueprint("web", __name__, template_folder=str(_TEMPLATES))
    pages.before_request(session.refuse_other_sites)
    faults.register(app, pages)
    for blueprint in (
        compose.blueprint,
        login.blueprint,
        outbox.blueprint,
        previews.blueprint,
        routing.blueprint,
        suppressions.blueprint,
        callbacks.blueprint,
        tracking.blueprint,
        unsubscribing.blueprint,
    ):
        pages.register_blueprint(blueprint)
    app.register_blueprint(pages)
