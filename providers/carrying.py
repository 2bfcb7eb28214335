"""What keeps a message from being carried by a provider, as far as it is known without asking."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from providers.mailbox import ascii_domain
from providers.mime import base64_size
from providers.types import Address, Email

#: Line breaks, and what some mail software takes for one; a tab is a blank in any header.
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
_HEADER_NAME = re.compile(r"[!-9;-~]+")
_CONTENT_TYPE = re.compile(r"[\w!#$&^.+-]{1,127}/[\w!#$&^.+-]{1,127}", re.ASCII)
_CONTENT_ID = re.compile(r"[\w!#$%&'*+/=?^`{|}~.@-]+", re.ASCII)
#: The headers of a file, and the lines between it and the next one.
_PART_OVERHEAD = 300
#: What SES and some others built on it take as no attachment, by the end of its name.
#: https://docs.aws.amazon.com/ses/latest/dg/mime-types.html
RISKY_FILES = frozenset(
    """
    ade adp app asp bas bat cer chm cmd com cpl crt csh der exe fxp gadget hlp hta inf ins isp its
    js jse ksh lib lnk mad maf mag mam maq mar mas mat mau mav maw mda mdb mde mdt mdw mdz msc msh
    msh1 msh1xml msh2 msh2xml mshxml msi msp mst ops pcd pif plg prf prg ps1 ps1xml ps2 ps2xml psc1
    psc2 reg scf scr sct shb shs sys tmp url vb vbe vbs vps vsmacros vss vst vsw vxd ws wsc wsf wsh
    xnk
    """.split()  # noqa: SIM905  (a hundred quotes would not make it easier to read)
)


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a provider goes.

    `size` is in bytes, of a message with its files encoded; `recipients` are over To, Cc and Bcc
    together. `steering` holds the beginnings, in lower case, of header names that the provider
    takes as orders instead of sending them on. `refused_files` are the ends of names, in lower case
    and without the dot, of files that it does not take. A provider that `wants_body` takes no empty
    one, and one that writes `one_copy` cannot keep several blind copies apart.
    """

    size: int
    recipients: int
    steering: tuple[str, ...] = ()
    repeated_headers: bool = False
    utf8_recipients: bool = False
    refused_files: frozenset[str] = frozenset()
    wants_subject: bool = False
    wants_body: bool = False
    one_copy: bool = False


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who is shown where in one copy of a message, for a provider that wants somebody in To."""

    to: tuple[Address, ...]
    cc: tuple[Address, ...] = ()
    bcc: tuple[Address, ...] = ()


def envelopes(email: Email) -> tuple[Envelope, ...]:
    """The copies that such a provider is to write: one, but for a message with blind copies only.

    With nobody in To, those in Cc take the place. Blind copies alone get a message each, in which
    only they are named: in one message they would see each other.
    """
    if email.to:
        return (Envelope(email.to, email.cc, email.bcc),)
    if email.cc:
        return (Envelope(email.cc, (), email.bcc),)
    return tuple(Envelope((address,)) for address in email.bcc)


def obstacle(email: Email, limits: Limits) -> str | None:
    """The first thing in the way, as one line for people, or None.

    Nothing that passes can start a new header line, whatever form the provider wants it in.
    """
    return next(_obstacles(email, limits), None)


def _obstacles(email: Email, limits: Limits) -> Iterator[str]:
    if limits.wants_subject and not email.subject:
        yield "it has no subject"
    if limits.wants_body and not (email.text or email.html):
        yield "its body is empty"
    if limits.one_copy and len(envelopes(email)) > 1:
        yield "it has several blind copies, and nobody in To or Cc"
    texts = list(_header_texts(email))
    if _CONTROL.search("".join([text for _, text in texts])):
        what = next(what for what, text in texts if _CONTROL.search(text))
        yield f"the {what} holds a line break or another control character"
    try:
        size = _bytes(email.text or "") + _bytes(email.html or "")
        size += sum(_bytes(text) for _, text in texts)
    except UnicodeEncodeError:
        yield "it holds characters that no encoding has (lone surrogates)"
        return
    size += encoded_size(email)
    if size > limits.size:
        yield f"it has {size / 1e6:.1f} MB, the limit is {limits.size / 1e6:.0f} MB"
    if len(email.recipients) > limits.recipients:
        yield f"it has {len(email.recipients)} recipients, the limit is {limits.recipients}"
    yield from _header_obstacles(email, limits)
    yield from _address_obstacles(email, limits)
    yield from _file_obstacles(email, limits)


def encoded_size(email: Email) -> int:
    """How many bytes the files of a message have in MIME, about."""
    return sum(base64_size(file.content) + _PART_OVERHEAD for file in email.attachments)


def _header_obstacles(email: Email, limits: Limits) -> Iterator[str]:
    names = [name.lower() for name, _ in email.headers]
    for name in names:
        if not _HEADER_NAME.fullmatch(name):
            yield "a header name has characters that none may have"
        if name.startswith(limits.steering):
            yield f"the header {name} would steer the provider instead of being sent"
    if not limits.repeated_headers and len(names) != len(set(names)):
        yield "a header occurs twice"


def _address_obstacles(email: Email, limits: Limits) -> Iterator[str]:
    for kind, addresses, utf8 in (
        ("sender", (email.sender,), False),
        ("reply-to address", email.reply_to, False),
        ("recipient", email.recipients, limits.utf8_recipients),
        ("shown address", email.header_to + email.header_cc, True),
    ):
        for address in addresses:
            if address.email.isascii():
                continue
            try:
                ascii_form = ascii_domain(address).isascii()
            except ValueError:
                yield f"the domain of a {kind} has no ASCII form"
                continue
            if not ascii_form and not utf8:
                yield f"the local part of a {kind} is not ASCII"


def _file_obstacles(email: Email, limits: Limits) -> Iterator[str]:
    ids = [file.content_id for file in email.attachments if file.content_id is not None]
    if len(ids) != len(set(ids)):
        yield "two of its files have the same content id"
    for file in email.attachments:
        if not file.filename:
            yield "a file has no name"
        if not _CONTENT_TYPE.fullmatch(file.content_type):
            yield "the content type of a file is no type"
        if file.content_id is not None and not _CONTENT_ID.fullmatch(file.content_id):
            yield "a content id has characters that none may have"
        kind = file.filename.rpartition(".")[2].lower()
        if kind in limits.refused_files:
            yield f"it takes no .{kind} files"


def _header_texts(email: Email) -> Iterator[tuple[str, str]]:
    yield "subject", email.subject
    yield "attempt id", email.attempt_id
    for address in (email.sender, *email.recipients, *email.reply_to):
        yield "name of an address", address.name
        yield "address", address.email
    for address in (*(email.shown_to or ()), *(email.shown_cc or ())):
        yield "name of an address", address.name
        yield "address", address.email
    for name, value in email.headers:
        yield "name of a header", name
        yield "value of a header", value
    for file in email.attachments:
        yield "name of a file", file.filename


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
