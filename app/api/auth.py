"""Who is calling: API keys, asked for on every route that is not marked as open."""

from collections.abc import Callable
from typing import TypeVar

from flask import Flask, current_app, g, request

from app.api.errors import Problem
from app.core.api_keys import ApiKeys

_View = TypeVar("_View", bound=Callable[..., object])


def open_route(view: _View) -> _View:
    """Marks a view that asks for no API key: it is public, or guards itself in another way."""
    view.open_route = True  # type: ignore[attr-defined]
    return view


def is_open(view: Callable[..., object] | None) -> bool:
    return getattr(view, "open_route", False)


def register(app: Flask, keys: ApiKeys) -> None:
    """Asks for a key before every view that is not open."""

    def check() -> None:
        if request.endpoint is None or is_open(current_app.view_functions.get(request.endpoint)):
            return
        secret = _secret()
        name = None if secret is None else keys.name_of(secret)
        if name is None:
            detail = "This needs an API key." if secret is None else "No such API key."
            raise Problem(
                401,
                f"{detail} Send it as 'Authorization: Bearer <key>'.",
                headers={"WWW-Authenticate": 'Bearer realm="steadpost"'},
            )
        g.api_key = name

    app.before_request(check)


def caller() -> str:
    """The name of the API key of the request."""
    return str(g.api_key)


def _secret() -> str | None:
    authorization = request.authorization
    if authorization is None:
        return None
    if authorization.type == "bearer":
        return authorization.token
    if authorization.type == "basic" and authorization.username == "api":
        return authorization.password
    return None
