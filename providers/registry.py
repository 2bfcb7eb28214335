"""Finds the class of a provider by its name, in this package or outside the project."""

import contextlib
import importlib
import importlib.util
import inspect
import pkgutil
import re
from collections.abc import Iterator
from types import ModuleType

import providers
from providers.base import Provider


class UnknownProvider(ValueError):
    """No provider goes by that name; the message says which ones do."""


def load(name: str) -> type[Provider]:
    """The class for `mailgun` (module `providers.mailgun`) or `acme.mail:AcmeProvider`.

    Raises UnknownProvider. An error inside the module of a provider is not hidden.
    """
    if ":" in name:
        return _outside(name)
    if re.fullmatch(r"[a-z][a-z0-9_]*", name) and _exists(f"providers.{name}"):
        for found in _providers_in(importlib.import_module(f"providers.{name}")):
            if found.name == name:
                return found
    raise UnknownProvider(
        f"no provider {name!r}: there are {', '.join(sorted(_known()))},"
        " or one of your own by a path such as acme.mail:AcmeProvider"
    )


def _outside(path: str) -> type[Provider]:
    module, _, attribute = path.partition(":")
    if not _exists(module):
        raise UnknownProvider(f"no provider {path!r}: there is no module {module!r} on the path")
    found = getattr(importlib.import_module(module), attribute, None)
    if not (inspect.isclass(found) and issubclass(found, Provider)):
        raise UnknownProvider(
            f"no provider {path!r}: {attribute!r} there is not a class derived from Provider"
        )
    if inspect.isabstract(found) or not isinstance(getattr(found, "name", None), str):
        raise UnknownProvider(f"no provider {path!r}: it lacks a name or a method of Provider")
    return found


def _exists(module: str) -> bool:
    if not all(part.isidentifier() for part in module.split(".")):
        return False
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError as fault:
        # The package around it is missing; anything else that it lacks is its author's to know.
        if fault.name and f"{module}.".startswith(f"{fault.name}."):
            return False
        raise


def _known() -> Iterator[str]:
    for module in pkgutil.iter_modules(providers.__path__, "providers."):
        # One that cannot be imported here is no help to name.
        with contextlib.suppress(ImportError):
            for found in _providers_in(importlib.import_module(module.name)):
                yield found.name


def _providers_in(module: ModuleType) -> Iterator[type[Provider]]:
    """The providers that a module defines, not those that it imports."""
    for _, found in inspect.getmembers(module, inspect.isclass):
        if (
            issubclass(found, Provider)
            and found.__module__ == module.__name__
            and not inspect.isabstract(found)
        ):
            yield found
