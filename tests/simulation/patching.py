"""Putting something else in production's place, for as long as a block runs."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from app.core import scripting

Patch = Callable[[], AbstractContextManager[None]]


@contextmanager
def patched(owner: Any, name: str, stand_in: Any) -> Iterator[None]:
    """`owner.name` is `stand_in` within the block."""
    original = vars(owner)[name]
    setattr(owner, name, stand_in)
    try:
        yield
    finally:
        setattr(owner, name, original)


def altered(owner: Any, name: str, alter: Callable[[Any], Any]) -> Patch:
    """A patch that puts what `alter` makes of the original in its place."""
    return lambda: patched(owner, name, alter(vars(owner)[name]))


def script(name: str, text: str, other: str) -> Patch:
    """A patch of a script, which has `other` where it had `text`. Fails where it had it not."""

    def alter(original: Callable[[str], tuple[str, str]]) -> Callable[[str], tuple[str, str]]:
        source, _ = original(name)
        assert source.count(text) == 1, f"{name}.lua does not hold exactly once: {text}"
        source = source.replace(text, other)
        digest = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
        return lambda asked: (source, digest) if asked == name else original(asked)

    return altered(scripting, "script", alter)
