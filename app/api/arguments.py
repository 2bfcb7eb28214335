"""What views take from requests, as their decorators say; all faults go into one answer."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import g, request
from marshmallow import Schema, ValidationError

from app.api import parsing
from app.api.errors import Problem

_View = Callable[..., Any]

_READERS = {
    "json": parsing.read_body,
    "query": parsing.read_query,
    "headers": parsing.read_headers,
}


class RequestParser:
    """Reads the arguments of views, in place of webargs, for flask-smorest's blueprints."""

    DEFAULT_VALIDATION_STATUS = 422

    def use_args(self, schema: Schema, *, location: str) -> Callable[[_View], _View]:
        """Hands a view the loaded value. Only the last of several decorators complains: for all."""

        def decorate(view: _View) -> _View:
            last = not getattr(view, "takes_arguments", False)

            @wraps(view)
            def read(*args: Any, **kwargs: Any) -> Any:
                value, faults = load(schema, location)
                found: parsing.Faults = g.setdefault("faults", {})
                found |= faults
                if last and found:
                    raise Problem(422, "The request has faults; see errors.", errors=found)
                return view(*args, value, **kwargs)

            read.takes_arguments = True  # type: ignore[attr-defined]
            return read

        return decorate


def load(schema: Schema, location: str) -> tuple[Any, parsing.Faults]:
    """The loaded value of a part of the request, and what is wrong with it."""
    value, faults = _READERS[location](request, schema)
    try:
        return schema.load(value), faults
    except ValidationError as error:
        # What was wrong before is the reason for what is missing now.
        return None, parsing.flatten(error.messages) | faults
