import json
import sys
import textwrap

import pytest

from providers.base import HttpProvider
from providers.errors import AccountRefused, Rejected, Unavailable
from providers.mailgun import MailgunProvider
from providers.registry import UnknownProvider, load
from providers.sendgrid import SendGridProvider
from providers.ses import SesProvider
from providers.types import Address
from tests.providers.contract import Copy, ProviderContract, Sample
from tests.providers.reading import decoded
from tests.providers.server import Reply, Request

ACME = '''
    """Acme Mail: what the author of a provider outside the project writes."""

    import json

    from providers.answers import Complaint, Rule
    from providers.base import HttpProvider, ProviderSetting
    from providers.carrying import Limits
    from providers.errors import Rejected
    from providers.mailbox import ascii_domain, encoded_text
    from providers.transport import Call


    class AcmeProvider(HttpProvider):
        name = "acme"
        settings = (
            ProviderSetting("ACME_TOKEN", required=True, secret=True),
            ProviderSetting("ACME_BASE_URL", default="https://api.acme.example"),
        )
        limits = Limits(size=10_000_000, recipients=100, repeated_headers=True)
        rules = (Rule(Rejected, (422,)),)

        def __init__(self, values, timeouts):
            super().__init__(values, timeouts)
            self._token = values["ACME_TOKEN"]

        def compose(self, email):
            message = {kind: [pair(a) for a in getattr(email, kind)] for kind in
                       ("to", "cc", "bcc", "reply_to")}
            message |= {"from": pair(email.sender), "subject": email.subject,
                        "text": email.text, "html": email.html, "ref": email.attempt_id,
                        "headers": [[name, encoded_text(v)] for name, v in email.headers]}
            headers = {"Authorization": f"Token {self._token}", "Content-Type": "application/json"}
            body = json.dumps(message).encode()
            return Call(f"{self.base_url}/send", headers, body, (self._token,))

        def message_id(self, answer):
            return answer.fields.get("ref")

        def complaints(self, answer):
            return (Complaint(str(answer.fields.get("why", ""))),)


    def pair(address):
        return [address.name, ascii_domain(address)]
'''


@pytest.fixture(scope="module", autouse=True)
def acme(tmp_path_factory):
    """A package `acme` with a module `mail`, as if it were installed."""
    path = tmp_path_factory.mktemp("outside")
    package = path / "acme"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "mail.py").write_text(textwrap.dedent(ACME))
    (package / "broken.py").write_text("import something_that_is_not_there\n")
    sys.path.insert(0, str(path))
    yield
    sys.path.remove(str(path))
    for name in [name for name in sys.modules if name.partition(".")[0] == "acme"]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("mailgun", MailgunProvider), ("sendgrid", SendGridProvider), ("ses", SesProvider)],
)
def test_a_provider_of_the_project_goes_by_its_name(name, expected):
    assert load(name) is expected


def test_a_provider_from_outside_goes_by_its_path():
    found = load("acme.mail:AcmeProvider")
    assert issubclass(found, HttpProvider)
    assert found.name == "acme"


@pytest.mark.parametrize(
    "name", ["mailgum", "", "base", "Mailgun", "../ses", "registry", "__init__"]
)
def test_an_unknown_name_is_answered_with_the_known_ones(name):
    with pytest.raises(UnknownProvider, match=r"mailgun, .*sendgrid, ses, smtp") as raised:
        load(name)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("nowhere.mail:AcmeProvider", "no module 'nowhere.mail'"),
        ("acme.post:AcmeProvider", "no module 'acme.post'"),
        (":AcmeProvider", "no module ''"),
        (".mail:AcmeProvider", "no module '.mail'"),
        ("acme.mail:Nobody", "'Nobody'"),
        ("acme.mail:pair", "'pair'"),
        ("acme.mail:Complaint", "'Complaint'"),
        ("acme.mail:HttpProvider", "lacks"),
    ],
)
def test_a_path_that_leads_to_no_provider_says_what_is_missing(path, words):
    with pytest.raises(UnknownProvider, match="no provider") as raised:
        load(path)
    assert words in str(raised.value)


def test_what_a_module_from_outside_lacks_itself_is_not_hidden():
    with pytest.raises(ModuleNotFoundError, match="something_that_is_not_there"):
        load("acme.broken:Provider")


class TestFromOutside(ProviderContract):
    settings = {"ACME_TOKEN": "tok-0123456789abcdef"}  # noqa: RUF012
    success = Reply(200, b'{"ref": "acme-1"}')
    success_id = "acme-1"
    failures = (
        Sample(Reply(422, b'{"why": "bad"}'), Rejected),
        Sample(Reply(401, b'{"why": "who?"}'), AccountRefused),
        Sample(Reply(503, b""), Unavailable),
    )

    @property
    def provider(self):
        return load("acme.mail:AcmeProvider")

    def copies(self, request: Request) -> list[Copy]:
        message = json.loads(request.body)
        kinds = {
            kind: tuple(Address(email, name) for name, email in message[kind])
            for kind in ("to", "cc", "bcc", "reply_to")
        }
        name, email = message["from"]
        return [
            Copy(
                sender=Address(email, name),
                **kinds,
                subject=message["subject"],
                text=message["text"] or None,
                html=message["html"] or None,
                headers=tuple((name, decoded(value)) for name, value in message["headers"]),
                attempt_id=message["ref"],
            )
        ]

    def complaint(self, words: str) -> Reply:
        return Reply(401, json.dumps({"why": words}).encode())
