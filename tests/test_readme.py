"""The README tells the truth: its settings, states, calls and examples are those of the program."""

import json
import re
import shlex
from pathlib import Path

import fakeredis
import pytest
import responses

import config
from app.core.models import MessageState
from app.factory import create_app
from app.services import build
from config import Settings
from providers.base import Timeouts
from providers.errors import Rejected
from providers.registry import load
from providers.types import Address, Email

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
ROWS = [line.split("|")[1:-1] for line in README.splitlines() if line.startswith("| ")]
CELLS = [[cell.strip() for cell in row] for row in ROWS]


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    settings = Settings.from_env({"DATA_DIR": str(tmp_path_factory.mktemp("data"))})
    return create_app(build(settings, redis=fakeredis.FakeRedis(decode_responses=True)))


def test_the_settings_are_those_of_the_program():
    table = {row[0].strip("`"): row[1:] for row in CELLS if re.fullmatch(r"`[A-Z_]+`", row[0])}
    assert table == {
        s.name: [f"`{s.default}`" if s.default else "", s.meaning] for s in config.SETTINGS
    }


@pytest.mark.parametrize(
    "provider", ["mailgun", "mandrill", "postmark", "resend", "sendgrid", "ses", "smtp"]
)
def test_the_settings_of_a_provider_are_those_it_declares(provider):
    (row,) = [row for row in CELLS if row[0] == f"`{provider}`"]
    assert set(re.findall(r"`([A-Z_]+)`", row[1])) == {s.name for s in load(provider).settings}


def test_the_statuses_are_states_of_messages():
    states = {state.value for state in MessageState}
    start = README.index("| status | meaning |")
    named = re.findall(r"^\| `(\w+)` \|", README[start : README.index("\n\n", start)], re.MULTILINE)
    assert set(named) == states


def test_every_call_that_is_named_exists(app):
    routes = {
        (method, re.sub(r"<(?:\w+:)?(?:(?:message|callback)_)?(\w+?)>", r"<\1>", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in rule.methods
    }
    start = README.index("| call | what it does |")
    table = README[start : README.index("\n\n", start)]
    for method, path in re.findall(r"`(GET|POST) (/[^`?]*)`", table):
        assert (method, path) in routes, f"{method} {path}"


def test_the_curl_line_is_accepted(app):
    start = README.index("curl http")
    line = README[start : README.index("```", start)].replace("\\\n", " ")
    words = shlex.split(line.replace("$(cat data/api-key)", "KEY"))
    body = json.loads(words[words.index("-d") + 1])
    key = app.extensions["steadpost"].settings.api_keys[0].secret
    answer = app.test_client().post(
        "/messages", json=body, headers={"Authorization": f"Bearer {key}"}
    )
    assert answer.status_code == 202
    start = README.index('{"id": "msg_', start)
    shown = json.loads(README[start : README.index("```", start)])
    assert shown.keys() == answer.json.keys()
    assert shown["message"] == answer.json["message"]


@pytest.mark.parametrize(
    ("title", "expected"), [("### Templates", [202, 200]), ("### Callbacks", [201])]
)
def test_the_curl_lines_of_a_section_work(app, title, expected):
    start = README.index(title)
    section = README[start : README.index("\n### ", start + 1)]
    key = app.extensions["steadpost"].settings.api_keys[0].secret
    statuses = []
    for line in re.findall(r"```sh\n(curl .*?)```", section, re.DOTALL):
        words = shlex.split(line.replace("\\\n", " "))
        method = words[words.index("-X") + 1] if "-X" in words else "POST"
        (url,) = [word for word in words if word.startswith("http")]
        answer = app.test_client().open(
            url.removeprefix("http://127.0.0.1:8000"),
            method=method,
            json=json.loads(words[words.index("-d") + 1]),
            headers={"Authorization": f"Bearer {key}"},
        )
        statuses.append(answer.status_code)
    assert statuses == expected


def test_the_example_message_is_accepted(app):
    start = README.index('{"from": "Shop <orders@shop.example>", "to": ["Ann')
    body = json.loads(README[start : README.index("```", start)])
    key = app.extensions["steadpost"].settings.api_keys[0].secret
    answer = app.test_client().post(
        "/messages", json=body, headers={"Authorization": f"Bearer {key}"}
    )
    assert answer.status_code == 202


def test_every_make_target_that_is_named_exists():
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"`make ([a-z-]+)`", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_path_that_is_named_exists():
    start = README.index("| room | what is in it |")
    for path in re.findall(r"`([a-z_/.]+)`", README[start:]):
        assert (ROOT / path).exists(), path


def test_the_provider_that_is_shown_works(tmp_path, monkeypatch):
    start = README.index("```python\n") + len("```python\n")
    (tmp_path / "acme_mail.py").write_text(README[start : README.index("```", start)])
    monkeypatch.syspath_prepend(tmp_path)
    acme = load("acme_mail:AcmeProvider").configure({"ACME_TOKEN": "token-0123456789"}, Timeouts())
    ann = Address("ann@example.net", "Ann")
    email = Email("msg_x-1", ann, (ann,), (), (), (), "Your order", "It is on its way.", None)
    with responses.RequestsMock() as http:
        http.post("https://api.acme.example/send", json={"id": "acme-1"})
        assert acme.send(email).provider_message_id == "acme-1"
        http.replace("POST", "https://api.acme.example/send", status=422, json={"message": "no"})
        with pytest.raises(Rejected):
            acme.send(email)
