"""Signatures, with botocore as the signer."""

import time

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from simulator.http import Call
from simulator.sigv4 import BadSignature, Verifier

KEY, SECRET, REGION = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "us-east-1"
URL = "https://email.us-east-1.amazonaws.com/v2/email/outbound-emails"
VERIFIER = Verifier(KEY, SECRET, REGION)


def signed(url=URL, *, key=KEY, secret=SECRET, token=None, region=REGION, service="ses"):
    headers = {"Content-Type": "application/json", "Host": url.split("/")[2]}
    request = AWSRequest("POST", url, headers=headers, data=b'{"a": 1}')
    SigV4Auth(Credentials(key, secret, token), service, region).add_auth(request)
    path, _, query = url.split("/", 3)[3].partition("?")
    lower = {name.lower(): value for name, value in request.headers.items()}
    return Call("POST", f"/{path}", query, lower, b'{"a": 1}')


def refusal(call, now=None):
    with pytest.raises(BadSignature) as caught:
        VERIFIER.verify(call, time.time() if now is None else now)
    return caught.value.kind, caught.value.message


@pytest.mark.parametrize(
    "url",
    [
        URL,
        "https://email.us-east-1.amazonaws.com/v2/email/suppression/addresses/ann%40example.net",
        "https://email.us-east-1.amazonaws.com/v2/email/x?b=2&a=1%202&a=%40",
    ],
)
def test_what_botocore_signs_is_accepted(url):
    VERIFIER.verify(signed(url), time.time())


def test_the_published_example_is_accepted():
    call = Call(
        "POST",
        "/v2/email/outbound-emails",
        "",
        {
            "host": "email.us-east-1.amazonaws.com",
            "content-type": "application/json",
            "x-amz-date": "20260101T000000Z",
            "authorization": "AWS4-HMAC-SHA256 "
            "Credential=AKIDEXAMPLE/20260101/us-east-1/ses/aws4_request, "
            "SignedHeaders=content-type;host;x-amz-date, "
            "Signature=86c5999a7ceebe9237a7b7d40cbab7326fe7b81764b62d8b70c11166aac80e90",
        },
        b'{"FromEmailAddress":"a@example.com"}',
    )
    VERIFIER.verify(call, 1767225600)


def test_a_wrong_secret_does_not_match():
    assert refusal(signed(secret="wrong"))[0] == "SignatureDoesNotMatch"


@pytest.mark.parametrize("name", ["body", "path", "content-type", "host"])
def test_what_was_changed_after_signing_does_not_match(name):
    call = signed()
    if name == "body":
        call.body += b" "
    elif name == "path":
        call.path += "/"
    else:
        call.headers[name] += "x"
    assert refusal(call)[0] == "SignatureDoesNotMatch"


def test_a_date_that_is_not_signed_does_not_match():
    call = signed()
    call.headers["authorization"] = call.headers["authorization"].replace(";x-amz-date", "")
    assert refusal(call)[0] == "SignatureDoesNotMatch"


def test_an_unknown_key_is_not_recognized():
    assert refusal(signed(key="AKIASOMEBODYELSE"))[0] == "UnrecognizedClientException"


def test_a_session_that_nobody_opened_is_not_recognized():
    assert refusal(signed(token="token"))[0] == "UnrecognizedClientException"


def test_a_call_without_a_signature_lacks_its_token():
    call = signed()
    del call.headers["authorization"]
    assert refusal(call)[0] == "MissingAuthenticationTokenException"


def test_a_signature_without_a_date_is_incomplete():
    call = signed()
    del call.headers["x-amz-date"]
    assert refusal(call)[0] == "IncompleteSignatureException"


@pytest.mark.parametrize(("skew", "words"), [(901, "expired"), (-901, "not yet current")])
def test_a_clock_that_is_far_off_is_told_so(skew, words):
    kind, message = refusal(signed(), time.time() + skew)
    assert kind == "SignatureDoesNotMatch"
    assert words in message


def test_a_clock_that_is_a_little_off_does_no_harm():
    VERIFIER.verify(signed(), time.time() + 800)


@pytest.mark.parametrize("scope", [{"region": "eu-west-1"}, {"service": "sesv2"}])
def test_another_region_or_service_is_told_so(scope):
    kind, message = refusal(signed(**scope))
    assert kind == "SignatureDoesNotMatch"
    assert "Credential should be scoped" in message
