"""What the templates know besides what a view gives them: times, words, and who is looking."""

from datetime import UTC, datetime
from typing import Any

from flask import Flask
from jinja2 import StrictUndefined

from app.api.context import services
from app.core.lifecycle import has_ended, is_waiting
from app.version import VERSION
from app.web import wording
from app.web.session import current_key, form_token
from providers.types import Address

_UNITS = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def register(app: Flask) -> None:
    """Adds filters and globals to the templates of the application."""
    environment = app.jinja_env
    environment.trim_blocks = environment.lstrip_blocks = True
    environment.undefined = StrictUndefined
    environment.filters.update(
        relative=relative,
        exact=exact,
        duration=duration,
        mailbox=mailbox,
        in_a_sentence=wording.in_a_sentence,
    )
    environment.globals.update(
        message_states=wording.MESSAGE_STATES,
        recipient_states=wording.RECIPIENT_STATES,
        outcomes=wording.OUTCOMES,
        findings=wording.FINDINGS,
        sources=wording.SOURCES,
        has_ended=has_ended,
        is_waiting=is_waiting,
        form_token=form_token,
        version=VERSION,
    )
    app.context_processor(_of_the_request)


def _of_the_request() -> dict[str, Any]:
    settings = services().settings
    simulator = f"http://127.0.0.1:{settings.simulator_port}/" if settings.simulator else None
    return {
        "now": services().clock(),
        "viewer": current_key(),
        "public_url": settings.public_url,
        "simulator_url": simulator,
    }


def relative(at: datetime, now: datetime) -> str:
    """How long ago a time was, or how far it is away, in the largest unit that fits.

    The script that keeps these texts fresh has the same rules.
    """
    seconds = round((at - now).total_seconds())
    size, unit = next(((s, u) for s, u in _UNITS if abs(seconds) >= s), (1, "second"))
    count = abs(seconds) // size
    if count == 0:
        return "just now"
    text = f"{count} {unit}{'' if count == 1 else 's'}"
    return f"in {text}" if seconds > 0 else f"{text} ago"


def exact(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def duration(milliseconds: int) -> str:
    return f"{milliseconds} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"


def mailbox(address: Address) -> str:
    return f"{address.name} <{address.email}>" if address.name else address.email
