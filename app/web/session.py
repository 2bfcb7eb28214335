"""Who looks at the pages, and what keeps the forms of other sites out.

The session is a signed cookie that holds the name of an API key. It authenticates pages only: the
API looks at the Authorization header and at nothing else. It is `Lax` and not `Strict`, so that a
link to a message in a chat or a ticket finds its reader logged in; no GET changes anything.
"""

import functools
import hmac
import re
import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import ParamSpec, TypeVar
from urllib.parse import urlsplit

from flask import Flask, Request, current_app, g, redirect, request, session, url_for
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from flask.typing import ResponseReturnValue

from app.api.auth import open_route
from app.api.context import services
from app.api.errors import Problem
from config import Settings

UNAUTHORIZED = {"WWW-Authenticate": 'Bearer realm="steadpost"'}

_LIFE = timedelta(hours=12)
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# A browser reads a backslash as a slash, and drops tabs and line breaks.
_LOCAL_PATH = re.compile(r"/(?!/)[!-\[\]-~]*")

_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")


class _Sessions(SecureCookieSessionInterface):
    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """The session; an empty one, at no cost, for callers of the API: they have no cookie."""
        if self.get_cookie_name(app) not in request.cookies:
            return self.session_class()
        return super().open_session(app, request)


def register(app: Flask, settings: Settings) -> None:
    """Sets the session cookie up. Cookies know no ports: its name tells copies on a host apart."""
    secure = settings.public_url.startswith("https://")
    label = hmac.digest(settings.secret_key, b"web:cookie-name", "sha256").hex()[:8]
    app.session_interface = _Sessions()
    app.secret_key = hmac.digest(settings.secret_key, b"web:session", "sha256")
    app.config.update(
        SESSION_COOKIE_NAME=f"{'__Host-' if secure else ''}steadpost-{label}",
        SESSION_COOKIE_SECURE=secure,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_REFRESH_EACH_REQUEST=False,
        PERMANENT_SESSION_LIFETIME=_LIFE,
    )


def log_in(key_name: str) -> None:
    """Begins a session, with nothing left of the one before."""
    session.clear()
    session.permanent = True
    session["key"] = key_name
    session["until"] = (services().clock() + _LIFE).timestamp()


def log_out() -> None:
    session.clear()


def current_key() -> str | None:
    """The name of the API key in whose name somebody is logged in."""
    name: str | None = session.get("key")
    if name is None:
        return None
    if name not in services().api_keys or services().clock().timestamp() >= session["until"]:
        log_out()
        return None
    g.api_key = name
    return name


def signed_in(
    view: Callable[_Arguments, ResponseReturnValue],
) -> Callable[_Arguments, ResponseReturnValue]:
    """Guards a page: whoever is not logged in is asked to, and comes back to it."""

    @open_route
    @functools.wraps(view)
    def guarded(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> ResponseReturnValue:
        if current_key() is None:
            wanted = request.full_path.rstrip("?")
            return redirect(url_for("web.login.ask", next=None if wanted == "/" else wanted), 303)
        return view(*args, **kwargs)

    return guarded


def local_path(text: str | None) -> str:
    """The text if it is a path of this site, else the first page."""
    return text if text and _LOCAL_PATH.fullmatch(text) else url_for("web.compose.new")


def form_token() -> str:
    """The token that every form of this session carries."""
    if "form_token" not in session:
        session["form_token"] = secrets.token_urlsafe(24)
    return str(session["form_token"])


def has_form_token() -> bool:
    """Whether the request carries the token of a form of this session."""
    expected = session.get("form_token", "")
    given = request.form.get("form_token", "")
    return bool(expected) and hmac.compare_digest(expected.encode(), given.encode())


def require_form_token() -> None:
    """Raises Problem (403) for a form that this session was not given."""
    if not has_form_token():
        raise Problem(403, "This form is out of date. Go back, reload the page and try again.")


def from_any_site(view: Callable[_Arguments, _Answer]) -> Callable[_Arguments, _Answer]:
    """Marks a view that may be posted to from other sites: it goes by no session."""
    view.from_any_site = True  # type: ignore[attr-defined]
    return view


def refuse_other_sites() -> None:
    """Raises Problem (403) for a form that a browser sends here from another site."""
    view = current_app.view_functions.get(request.endpoint or "")
    if request.method in _SAFE_METHODS or getattr(view, "from_any_site", False):
        return
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is not None:
        ours = site in ("same-origin", "none")
    else:
        public = urlsplit(services().settings.public_url).netloc
        ours = origin is None or origin.partition("://")[2] in (request.host, public)
    if not ours:
        raise Problem(403, "This form was sent by another site. Nothing was done.")
