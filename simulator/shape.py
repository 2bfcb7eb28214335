"""The types in a JSON body: what is checked before any rule looks at its values."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

# A shape is a type, a list with the shape of its items, a mapping from names to shapes, a tuple of
# shapes of which one must fit, or `STRINGS`. Other names than those given may hold anything.

#: An object whose values are texts.
STRINGS = object()

NAMES = {
    dict: "object",
    list: "array",
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    type(None): "null",
}


@dataclass(frozen=True, slots=True)
class Misfit:
    """A value of a wrong type, and the type that it should have; None for `STRINGS`."""

    path: tuple[str | int, ...]
    value: Any
    expected: type | None

    @property
    def dotted(self) -> str:
        return ".".join(map(str, self.path))


def misfits(value: Any, shape: Any, path: tuple[str | int, ...] = ()) -> Iterator[Misfit]:
    """Every value of a wrong type, in the order of the body."""
    if type(shape) is tuple:
        fitting = [one for one in shape if _fits(value, one)]
        yield from misfits(value, (fitting or shape)[0], path)
    elif shape is STRINGS:
        if type(value) is not dict or not all(type(one) is str for one in value.values()):
            yield Misfit(path, value, None)
    elif not _fits(value, shape):
        yield Misfit(path, value, _outer(shape))
    elif type(shape) is dict:
        for name, inner in value.items():
            if name in shape:
                yield from misfits(inner, shape[name], (*path, name))
    elif type(shape) is list:
        for place, one in enumerate(value):
            yield from misfits(one, shape[0], (*path, place))


def _fits(value: Any, shape: Any) -> bool:
    """Whether a value has a shape, whatever is in it."""
    return type(value) is _outer(shape)


def _outer(shape: Any) -> type:
    """The type of what has a shape, without what is in it."""
    if shape is STRINGS:
        return dict
    return shape if isinstance(shape, type) else type(shape)
