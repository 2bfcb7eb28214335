"""Whatever stands in a body, each of the APIs that take JSON has an answer."""

import json
from copy import deepcopy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.api import Refused
from simulator.http import Call
from simulator.journal import Journal
from simulator.mandrill import Mandrill
from simulator.postmark import Postmark
from simulator.resend import Resend
from simulator.sendgrid import SendGrid
from tests.simulator.conftest import CREDENTIALS
from tests.simulator.sending import MANDRILL, POSTMARK, RESEND, SENDGRID

FILE = {"content": "eA==", "filename": "a", "Name": "a", "Content": "eA==", "ContentID": "cid:a"}
APIS = {
    "sendgrid": (SendGrid, "/v3/mail/send", SENDGRID | {"attachments": [FILE], "headers": {}}),
    "postmark": (
        Postmark,
        "/email",
        POSTMARK | {"Attachments": [FILE], "Headers": [{"Name": "X-A", "Value": "b"}], "Tag": "t"},
    ),
    "resend": (Resend, "/emails", RESEND | {"attachments": [FILE], "headers": {"X-A": "b"}}),
    "mandrill": (
        Mandrill,
        "/api/1.0/messages/send.json",
        {
            "key": CREDENTIALS.mandrill_api_key,
            "message": MANDRILL
            | {"images": [{"type": "image/png", "name": "a", "content": "eA=="}], "tags": ["a"]},
        },
    ),
}
HEADERS = {
    "sendgrid": {"authorization": f"Bearer {CREDENTIALS.sendgrid_api_key}"},
    "postmark": {"x-postmark-server-token": CREDENTIALS.postmark_server_token},
    "resend": {"authorization": f"Bearer {CREDENTIALS.resend_api_key}"},
    "mandrill": {},
}
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.sampled_from(["a@b.example", "a@", "", "x" * 2000, ["a@b.example"], {"a": "b"}]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)


def places(value, path=()):
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, one in inner if isinstance(value, dict | list) else ():
        yield from places(one, (*path, key))


@pytest.mark.parametrize("provider", APIS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_there_is_an_answer_to_any_body(provider, data):
    kind, path, plain = APIS[provider]
    *way, last = data.draw(st.sampled_from([p for p in places(plain) if p]))
    body = deepcopy(plain)
    holder = body
    for key in way:
        holder = holder[key]
    holder[last] = data.draw(VALUES)
    headers = {"user-agent": "test", "content-type": "application/json"} | HEADERS[provider]
    call = Call("POST", path, "", headers, json.dumps(body).encode())
    try:
        answer = kind(CREDENTIALS, lambda: 1e9).submission(call, path).success
    except Refused as refused:
        answer = refused.answer
    assert json.loads(answer.body or b"{}") is not None


@settings(max_examples=60, deadline=None)
@given(body=st.dictionaries(st.sampled_from(["id", "query", "limit"]), VALUES), of=st.booleans())
def test_there_is_an_answer_to_any_question(body, of):
    path = f"/api/1.0/messages/{'search' if of else 'info'}.json"
    whole = {"key": CREDENTIALS.mandrill_api_key, **body}
    call = Call("POST", path, "", {}, json.dumps(whole).encode())
    answer = Mandrill(CREDENTIALS, lambda: 1e9).report(call, path, Journal(), 1e9)
    assert answer.status in (200, 500)
