"""The form for a mail: addresses in a line, and faults that find their field."""

import time

import pytest
from marshmallow import ValidationError

from app.api.parsing import flatten
from app.web.mail_form import MailForm, split_addresses


@pytest.mark.parametrize(
    ("line", "addresses"),
    [
        ("", []),
        (" , ;, ", []),
        ("ann@example.net", ["ann@example.net"]),
        ("a@x.example, b@x.example;c@x.example", ["a@x.example", "b@x.example", "c@x.example"]),
        ("a@x.example\nb@x.example,", ["a@x.example", "b@x.example"]),
        (
            '"Smith, Ann" <a@x.example>, Bob <b@x.example>',
            ['"Smith, Ann" <a@x.example>', "Bob <b@x.example>"],
        ),
        (
            r'"a \"quoted, name\"" <a@x.example>, b@x.example',
            [r'"a \"quoted, name\"" <a@x.example>', "b@x.example"],
        ),
        (r'"ends in a backslash \\", b@x.example', [r'"ends in a backslash \\"', "b@x.example"]),
        ('"never closed, a@x.example, b@x.example', ['"never closed, a@x.example, b@x.example']),
    ],
)
def test_addresses_are_parted_outside_of_quotes(line, addresses):
    assert split_addresses(line) == addresses


def test_parting_addresses_takes_time_in_proportion_to_their_length():
    begin = time.perf_counter()
    split_addresses('"\\' * 200_000)
    assert time.perf_counter() - begin < 1.0


def test_faults_name_the_address_only_where_there_are_several():
    form = MailForm.of({"to": "a@x.example, b@", "cc": "c@"})
    with pytest.raises(ValidationError) as caught:
        form.submission()
    faults = form.faults(flatten(caught.value.messages))
    assert list(faults) == ["from", "to", "cc", "subject", "text"]
    assert faults["to"][0].startswith("b@: ")
    assert not faults["cc"][0].startswith("c@: ")


def test_a_fault_of_a_field_that_the_form_lacks_is_not_lost():
    faults = MailForm.of({}).faults({"providers.0": ["Not a provider."], "to": ["None."]})
    assert faults == {"to": ["None."], "providers": ["Not a provider."]}
