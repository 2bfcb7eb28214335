"""The store of templates: by API key, in versions, over those that are shipped."""

from pathlib import Path

import pytest

from app.core.rendering import Sources, TemplateFaults, render
from app.core.rendering_processes import RenderingProcesses
from app.core.template_store import (
    MOST_VERSIONS,
    TemplateStore,
    TooManyTemplates,
    is_name,
    shipped_templates,
)
from app.core.templates import Templates

SHIPPED = shipped_templates(Path(__file__).parents[2] / "templates" / "email")


@pytest.fixture
def templates(redis, clock) -> Templates:
    return Templates(TemplateStore(redis, SHIPPED), RenderingProcesses(), clock)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_template_is_whole_and_its_sample_is_enough(name):
    content = render(SHIPPED[name].sources, SHIPPED[name].sample)
    assert content.html is not None
    assert "{{" not in f"{content}"
    assert "prefers-color-scheme: dark" in content.html
    for value in ("Ann", "Acme"):
        assert value in content.html
        assert value in (content.text or "")


def test_the_templates_that_everybody_needs_are_shipped():
    assert set(SHIPPED) >= {"welcome", "password-reset", "receipt"}


@pytest.mark.parametrize("name", ["", "..", "a/b", "../a", "A", "a.b", "-a", "a" * 65, "a\n", "ä"])
def test_a_name_is_never_a_path(name, templates):
    assert not is_name(name)
    assert templates.get("shop", name) is None


def test_each_put_is_a_version_and_the_same_again_is_none(templates, clock):
    first = templates.put("shop", "news", Sources("One", "1"), {})
    clock.tick(1)
    assert templates.put("shop", "news", Sources("One", "1"), {}) == first
    second = templates.put("shop", "news", Sources("Two", "2"), {"a": 1})
    assert (first.version, second.version) == (1, 2)
    assert templates.get("shop", "news") == second
    assert templates.get("shop", "news", 1) == first
    assert templates.get("shop", "news", 3) is None
    assert [v.version for v in templates.describe("shop", second).versions] == [2, 1]


def test_only_the_latest_versions_are_kept(templates):
    for number in range(MOST_VERSIONS + 2):
        last = templates.put("shop", "news", Sources(f"S{number}", "t"), {})
    kept = [v.version for v in templates.describe("shop", last).versions]
    assert kept == list(range(MOST_VERSIONS + 2, 2, -1))


def test_a_template_is_of_its_key_and_a_deleted_one_uncovers_the_shipped_one(templates):
    own = templates.put("shop", "welcome", Sources("Hi", "t"), {})
    assert templates.get("shop", "welcome") == own
    assert templates.get("office", "welcome") == SHIPPED["welcome"]
    assert templates.get("shop", "welcome", 0) == SHIPPED["welcome"]
    assert templates.delete("shop", "welcome")
    assert not templates.delete("shop", "welcome")
    assert templates.get("shop", "welcome") == SHIPPED["welcome"]
    assert templates.put("shop", "welcome", Sources("Hi", "t"), {}).version == 2


def test_a_template_with_faults_is_not_kept(templates):
    with pytest.raises(TemplateFaults):
        templates.put("shop", "news", Sources("{{", "t"), {})
    assert templates.get("shop", "news") is None


def test_there_is_an_end_to_templates(templates, monkeypatch):
    monkeypatch.setattr("app.core.template_store.MOST_TEMPLATES", 1)
    templates.put("shop", "a", Sources("S", "t"), {})
    with pytest.raises(TooManyTemplates):
        templates.put("shop", "b", Sources("S", "t"), {})
    assert [t.name for t in templates.all("shop")] == sorted(["a", *SHIPPED])
