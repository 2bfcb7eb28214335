"""What applications do with templates: put, look at, preview, and send by them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.core.models import Clock
from app.core.rendering import Content, Sources, TemplateFaults
from app.core.rendering_processes import RenderingProcesses
from app.core.template_store import Template, TemplateStore, Version


@dataclass(frozen=True, slots=True)
class Described:
    """A template with the names of its variables, and the versions of it that are kept."""

    template: Template
    variables: tuple[str, ...]
    versions: tuple[Version, ...]


class Templates:
    """The templates that an API key can use: its own, and those that are shipped."""

    def __init__(self, store: TemplateStore, processes: RenderingProcesses, clock: Clock) -> None:
        self._store = store
        self._processes = processes
        self._clock = clock

    def all(self, api_key: str) -> list[Template]:
        """By name. Raises StoreUnavailable."""
        return self._store.all(api_key)

    def get(self, api_key: str, name: str, version: int | None = None) -> Template | None:
        """The template, or that version of it. Raises StoreUnavailable."""
        return self._store.get(api_key, name, version)

    def describe(self, api_key: str, template: Template) -> Described:
        """Raises StoreUnavailable and RenderingBusy."""
        versions = () if template.shipped else self._store.versions(api_key, template.name)
        return Described(template, self._processes.check(template.sources), tuple(versions))

    def put(self, api_key: str, name: str, sources: Sources, sample: Mapping[str, Any]) -> Template:
        """Keeps a new version. Raises TemplateFaults, TooManyTemplates, and as `describe`."""
        self._processes.check(sources)
        return self._store.put(api_key, name, sources, sample, self._clock())

    def delete(self, api_key: str, name: str) -> bool:
        """Whether there was one of the key's own. Raises StoreUnavailable."""
        return self._store.delete(api_key, name, self._clock())

    def preview(self, template: Template, variables: Mapping[str, Any]) -> Content:
        """Raises TemplateFaults and RenderingBusy."""
        return self._processes.render(template.sources, variables)

    def content(
        self, api_key: str, name: str, variables: Mapping[str, Any]
    ) -> tuple[Template, Content]:
        """What to send. Raises TemplateFaults, StoreUnavailable and RenderingBusy."""
        template = self._store.get(api_key, name)
        if template is None:
            raise TemplateFaults({"template": ["There is no such template."]})
        return template, self._processes.render(template.sources, variables)
