"""Jinja2 for templates that nobody has looked at: sandboxed, without files, and strict.

What is missing is written down instead of raised, so that all of it can be told at once.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from jinja2 import StrictUndefined, TemplateSyntaxError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing

_OTHER_FILES = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)

# What it raises for everything is answered here, in types that it does not foresee.
_Base: Any = StrictUndefined

_missed: ContextVar[list[tuple[Any, Any]]] = ContextVar("missed")


@contextmanager
def noting_what_is_missing() -> Iterator[list[tuple[Any, Any]]]:
    """What is asked for and not there while this lasts: in which object, and under which name."""
    noted: list[tuple[Any, Any]] = []
    token = _missed.set(noted)
    try:
        yield noted
    finally:
        _missed.reset(token)


class _Missing(_Base):  # type: ignore[misc]
    """A value that is not there: whatever is done with it but to ask whether it is, is noted."""

    __slots__ = ()

    def _note(self, *_: Any) -> Any:
        _missed.get().append((self._undefined_obj, self._undefined_name))
        return self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._note()

    def __str__(self) -> str:
        self._note()
        return ""

    def __bool__(self) -> bool:
        self._note()
        return False

    def __int__(self) -> int:
        self._note()
        return 0

    def __float__(self) -> float:
        self._note()
        return 0.0

    def __iter__(self) -> Iterator[Any]:
        self._note()
        return iter(())

    def __contains__(self, item: object) -> bool:
        return bool(self)

    def __eq__(self, other: object) -> bool:
        return bool(self)

    def __ne__(self, other: object) -> bool:
        return not self

    def __hash__(self) -> int:
        return int(self)

    __len__ = __index__ = __int__
    __lt__ = __le__ = __gt__ = __ge__ = __eq__
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _note
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = _note
    __pow__ = __rpow__ = __neg__ = __pos__ = __abs__ = __round__ = _note
    __call__ = __getitem__ = _note


class Sandbox(ImmutableSandboxedEnvironment):
    """The language of templates. `escape` is on for HTML."""

    def __init__(self, escape: bool) -> None:
        super().__init__(
            autoescape=escape,
            undefined=_Missing,
            trim_blocks=True,
            lstrip_blocks=True,
            cache_size=0,
        )
        del self.globals["lipsum"]

    def getattr(self, obj: Any, attribute: str) -> Any:
        # `order.items` means the items of the order, and not the method that every dict has.
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def parsed(self, source: str) -> nodes.Template:
        """The syntax tree. Raises TemplateSyntaxError, also where it asks for another template."""
        tree = self.parse(source)
        for node in tree.find_all(_OTHER_FILES):
            raise TemplateSyntaxError("a template stands alone: it takes in no other", node.lineno)
        return tree


def path_of(container: Any, name: Any, variables: Mapping[str, Any]) -> str | None:
    """Where a value is missing among the variables; None where it is no matter of theirs."""
    if container is missing:
        return str(name)
    for path, value in _containers("", variables):
        if value is container:
            return f"{path}{name}"
    return None


def _containers(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    waiting = [(path, value)]
    while waiting:
        at, found = waiting.pop()
        if isinstance(found, Mapping):
            inner: Sequence[tuple[Any, Any]] = list(found.items())
        elif isinstance(found, list):
            inner = list(enumerate(found))
        else:
            continue
        yield at, found
        waiting += [(f"{at}{key}.", each) for key, each in inner]
