"""What is given to templates: their names, and values of any kind for their variables."""

from collections.abc import Mapping
from typing import Any, ClassVar

import orjson
from marshmallow import ValidationError, fields

from app.api.texts import Pattern
from app.core.template_store import NAME

MOST_VARIABLES = 256 * 1024
"""Bytes, as JSON."""

_DEEPEST = 16

template_name = Pattern(
    f"^{NAME}$",
    error="Not a name for a template: 1 to 64 of a-z, 0-9, _ and -; the first is no _ or -.",
)


class ValuesField(fields.Dict):
    """An object of any values, of so many bytes as JSON and not nested too deeply."""

    json_schema: ClassVar[Mapping[str, Any]] = {"type": "object", "additionalProperties": {}}

    def __init__(self, most: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._most = most

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        if not isinstance(value, Mapping):
            raise self.make_error("invalid")
        if _is_deeper(value, _DEEPEST):
            raise ValidationError(f"Nested more than {_DEEPEST} deep.")
        if len(orjson.dumps(value)) > self._most:
            raise ValidationError(f"More than {self._most:,} bytes.")
        return value


def _is_deeper(value: Any, most: int) -> bool:
    level = [value]
    for _ in range(most):
        containers = [each for each in level if isinstance(each, Mapping | list)]
        level = [
            inner
            for each in containers
            for inner in (each.values() if isinstance(each, Mapping) else each)
        ]
    return any(isinstance(each, Mapping | list) for each in level)
