"""Where templates are: those that are shipped, in a folder; those of an API key, in Redis."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import orjson
from redis import Redis

from app.core import keys, records
from app.core.rendering import Sources
from app.core.scripting import Scripts

NAME = r"[a-z0-9][a-z0-9_-]{0,63}"
"""A template's name: it can be no path."""

MOST_TEMPLATES = 100
"""Of one API key."""
MOST_VERSIONS = 10
"""Of a template that are kept, the current one included."""

_NUMBERS_GO_ON = timedelta(days=730)
_NAME = re.compile(NAME)
_FILES = {"subject": "subject.txt", "text": "body.txt", "html": "body.html", "mjml": "body.mjml"}


@dataclass(frozen=True, slots=True)
class Template:
    """One version of a template. That of a shipped one is 0, and nobody knows since when.

    `sample` has variables to show it with.
    """

    name: str
    version: int
    sources: Sources
    sample: Mapping[str, Any] = field(default_factory=dict)
    updated_at: datetime | None = None

    @property
    def shipped(self) -> bool:
        return self.version == 0


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a template and when it was put."""

    version: int
    updated_at: datetime


class TooManyTemplates(Exception):
    """The API key has as many templates as there may be."""


def is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None


def shipped_templates(folder: Path) -> dict[str, Template]:
    """The templates in the folder, by name: each is a folder with its parts and a sample."""
    return {path.name: _read(path) for path in sorted(folder.iterdir()) if is_name(path.name)}


def _read(folder: Path) -> Template:
    parts = {part: _text(folder / file) for part, file in _FILES.items()}
    sample = orjson.loads(_text(folder / "sample.json") or "{}")
    return Template(folder.name, 0, Sources(**cast("Any", parts)), sample)


def _text(file: Path) -> str | None:
    return file.read_text(encoding="utf-8") if file.exists() else None


class TemplateStore:
    """Templates by API key: its own, then those that are shipped."""

    def __init__(self, redis: Redis, shipped: Mapping[str, Template]) -> None:
        self._scripts = Scripts(redis)
        self._shipped = shipped

    def get(self, api_key: str, name: str, version: int | None = None) -> Template | None:
        """The template, or that version of it. Raises StoreUnavailable."""
        if not is_name(name):
            return None
        own = self._own(api_key, name, version)
        if own is not None or version not in (None, 0):
            return own
        return self._shipped.get(name)

    def _own(self, api_key: str, name: str, version: int | None) -> Template | None:
        key = keys.template(api_key, name)
        fields = ["version", "content", "at"]
        if version is not None:
            fields += [f"content:{version}", f"at:{version}"]
        found = self._scripts.read(lambda r: r.hmget(key, fields))
        current, content, at, *old = found
        if version is not None and current != str(version):
            content, at = old
        if current is None or content is None:
            return None
        value = orjson.loads(content)
        sample = value.pop("sample")
        number = int(current) if version is None else version
        return Template(name, number, Sources(**value), sample, records.from_ms(at))

    def all(self, api_key: str) -> list[Template]:
        """Every template that the API key can use, by name. Raises StoreUnavailable."""
        own = self._scripts.read(lambda r: r.smembers(keys.templates(api_key)))
        found = [self.get(api_key, name) for name in sorted({*own, *self._shipped})]
        return [template for template in found if template is not None]

    def versions(self, api_key: str, name: str) -> list[Version]:
        """The versions that are kept, newest first; none of a shipped one."""
        key = keys.template(api_key, name)
        names = self._scripts.read(lambda r: r.hkeys(key))
        old = [name for name in names if name.startswith("at:")]
        current, *times = self._scripts.read(lambda r: r.hmget(key, ["version", "at", *old]))
        if current is None:
            return []
        numbers = [int(current), *(int(name.partition(":")[2]) for name in old)]
        known = {n: records.from_ms(at) for n, at in zip(numbers, times, strict=True) if at}
        return [Version(number, known[number]) for number in sorted(known, reverse=True)]

    def put(
        self, api_key: str, name: str, sources: Sources, sample: Mapping[str, Any], now: datetime
    ) -> Template:
        """Makes a new version, or none where it is what is there already.

        Raises TooManyTemplates and StoreUnavailable.
        """
        content = orjson.dumps({**asdict(sources), "sample": sample}).decode()
        kind, *told = self._run(api_key, name, content, now)
        if kind == "full":
            raise TooManyTemplates
        version, at = told
        return Template(name, int(version), sources, sample, records.from_ms(at))

    def delete(self, api_key: str, name: str, now: datetime) -> bool:
        """Whether the API key had a template of its own of this name. Raises StoreUnavailable."""
        return is_name(name) and bool(self._run(api_key, name, "", now)[0] == "deleted")

    def _run(self, api_key: str, name: str, content: str, now: datetime) -> Any:
        return self._scripts.run(
            "template",
            [keys.templates(api_key), keys.template(api_key, name)],
            [
                name,
                content,
                records.to_ms(now),
                MOST_TEMPLATES,
                MOST_VERSIONS,
                _NUMBERS_GO_ON // timedelta(milliseconds=1),
            ],
        )
