"""Templates: what comes out of them, what is said of what lacks, and what they cannot do."""

import time
from html.parser import HTMLParser

import pytest

from app.core.rendering import Content, Sources, TemplateFaults, render
from app.core.rendering_processes import RenderingProcesses

HOSTILE = "</mj-text></div><mj-raw><script>x</script>\"' onload=x --> {{ 7*7 }} &lt;"
MJML = (
    "<mjml><mj-head><mj-style>.a{color:red}</mj-style></mj-head><mj-body>"
    "{% if v %}<mj-section><mj-column>"
    '<mj-text css-class="a">Hi {{ v }}</mj-text>'
    '<mj-button href="https://x.example/?{{ v }}">B</mj-button>'
    "</mj-column></mj-section>{% endif %}</mj-body></mjml>"
)


@pytest.fixture(scope="module")
def processes() -> RenderingProcesses:
    return RenderingProcesses()


def elements(html: str) -> list[tuple[str, list[str]]]:
    """The elements with the names of their attributes, those in conditional comments too."""
    found = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: found.append((tag, [name for name, _ in attrs]))
    parser.handle_comment = lambda text: found.append(("comment", [text]))
    parser.feed(html)
    return found


def faults(**parts) -> dict[str, list[str]]:
    variables = parts.pop("variables", {})
    with pytest.raises(TemplateFaults) as caught:
        render(Sources(**{"subject": "S", **parts}), variables)
    return dict(caught.value.errors)


def test_html_is_escaped_and_text_is_not():
    sources = Sources("Hi {{ name }}", "Hi {{ name }}", "<p>Hi {{ name }}</p>")
    content = render(sources, {"name": "<b>"})
    assert content == Content("Hi <b>", "Hi <b>", "<p>Hi &lt;b&gt;</p>")


def test_a_text_is_made_where_there_is_none():
    assert render(Sources("S", html="<p>Hi <b>you</b></p>"), {}).text == "Hi **you**"


def test_everything_that_is_missing_is_named_at_once_by_its_path():
    named = faults(
        subject="{{ a }}",
        text="{{ b.c }}{% for i in order.items %}{{ i.n }}{% endfor %}{{ 1 + d }}",
        html="{{ e | length }}{{ f | default('f') }}{% if g is defined %}{{ g }}{% endif %}",
        variables={"order": {"items": [{"n": 1}, {}]}},
    )
    paths = ("a", "b", "order.items.1.n", "d", "e")
    assert set(named) == {f"variables.{path}" for path in paths}


@pytest.mark.parametrize("value", ["a\r\nBcc: x@example.net", "a\u2028b", "=?utf-8?q?a=0Ab?="])
def test_no_variable_breaks_the_line_of_a_subject(value):
    assert set(faults(subject="Hi {{ v }}", variables={"v": value})) == {"variables"}


def test_a_value_is_never_markup_in_mjml():
    html = render(Sources("S", mjml=MJML), {"v": HOSTILE}).html
    assert html is not None
    harmless = render(Sources("S", mjml=MJML), {"v": "Ann"}).html
    assert elements(html) == elements(harmless)
    assert "7*7" in html
    assert "color: red" in harmless


def test_a_value_wants_quotes_around_its_attribute():
    assert faults(html="<a\nhref={{ url }}>x</a>") == {
        "html": ["Line 2: {{ url }} wants quotes around the attribute."]
    }


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"text": "a\n{% if %}"}, {"text": "Line 2"}),
        ({"text": "{% include '/etc/passwd' %}"}, {"text": "Line 1"}),
        ({"html": "{% extends 'x' %}"}, {"html": "Line 1"}),
        ({"mjml": "<mjml><mj-body><mj-section></mj-body></mjml>"}, {"mjml": ""}),
        (
            {"mjml": "<mjml><mj-body><mj-include path='/etc/passwd'/></mj-body></mjml>"},
            {"mjml": ""},
        ),
    ],
)
def test_what_is_wrong_with_a_part_is_told_under_its_name(parts, told):
    found = faults(**parts)
    assert found.keys() == told.keys()
    assert all(found[part][0].startswith(text) for part, text in told.items())


def test_nothing_inside_python_is_reached():
    assert faults(text="{{ ''.__class__.__mro__ }}")


def test_no_style_sheet_is_fetched():
    link = '<link rel="stylesheet" href="file:///etc/passwd">'
    html = render(Sources("S", html=f"<style>p{{color:red}}</style>{link}<p>x</p>"), {}).html
    assert "root:" not in html


@pytest.mark.parametrize(
    "text",
    [
        "{% for i in range(10**9) %}x{% endfor %}",
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{{ 'x' * 10**10 }}",
        "{{ 9 ** (9 ** 9) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ 'x' | center(10**9) }}",
        "{% set n = namespace(x='x') %}"
        "{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% for i in range(99999) %}xxxxxxxxxxxxxxxxxxxx{% endfor %}",
        "{{ " + "(" * 5000 + ")" * 5000 + " }}",
    ],
)
def test_a_template_that_wants_too_much_is_stopped_and_the_next_one_is_rendered(processes, text):
    began = time.monotonic()
    with pytest.raises(TemplateFaults):
        processes.render(Sources("S", text), {})
    assert time.monotonic() - began < 10
    assert processes.render(Sources("S", "fine"), {}).text == "fine"


@pytest.mark.parametrize("html", ["<style>a{color:red}</style>{{ h | safe }}"])
def test_markup_that_would_crash_a_library_takes_no_process_of_ours_with_it(processes, html):
    with pytest.raises(TemplateFaults):
        processes.render(Sources("S", html=html), {"h": "<div>" * 200_000})
    assert processes.render(Sources("S", "fine"), {}).text == "fine"
