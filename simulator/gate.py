"""Where a call to one of the APIs meets its switch."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from simulator.api import Api, Refused
from simulator.credentials import Credentials
from simulator.http import Answer, Call, Fault, Reply
from simulator.inbox import Inbox
from simulator.mail import Fate
from simulator.mailgun import Mailgun
from simulator.mandrill import Mandrill
from simulator.postmark import Postmark
from simulator.resend import Resend
from simulator.sendgrid import SendGrid
from simulator.ses import Ses
from simulator.switches import Mode, Provider, Switch, Switches

CAPTIVE_PORTAL = Answer(
    200,
    b"<!doctype html>\n<html><head><title>Welcome to the hotel's network</title></head>\n"
    b'<body><h1>Please sign in</h1><form action="/login"><label>Room <input name="room"></label>'
    b"<button>Sign in</button></form></body></html>\n",
    "text/html; charset=utf-8",
)

_ANSWERED_IN_OWN_WORDS = (
    Mode.HTTP_500,
    Mode.HTTP_503,
    Mode.RATE_LIMIT,
    Mode.UNVERIFIED_SENDER,
)


class Gate:
    """Takes calls for the providers; what they accept goes to the inbox."""

    def __init__(
        self,
        credentials: Credentials,
        switches: Switches,
        inbox: Inbox,
        clock: Callable[[], float] = time.time,
    ) -> None:
        apis = (Mailgun, SendGrid, Ses, Postmark, Resend, Mandrill)
        self._apis: Mapping[Provider, Api] = {api.provider: api(credentials, clock) for api in apis}
        self._switches = switches
        self._inbox = inbox
        self._clock = clock

    def reply(self, provider: Provider, call: Call, path: str) -> Reply:
        """Handle a call to `path`, which is below the provider's prefix."""
        switch = self._switches[provider]
        if switch.mode is not Mode.UNAUTHORIZED:
            until = self._clock() - switch.lag
            report = self._apis[provider].report(call, path, self._inbox.journal, until)
            # Whatever is wrong with sending, what happened before can be read.
            if report is not None:
                return report
        self._inbox.counts[provider].calls += 1
        reply = self._reply(provider, switch, call, path)
        if switch.mode is Mode.SLOW and isinstance(reply, Answer):
            return replace(reply, delay=switch.seconds)
        return reply

    def _reply(self, provider: Provider, switch: Switch, call: Call, path: str) -> Reply:
        api = self._apis[provider]
        until = self._clock() + switch.seconds
        mode = switch.mode
        if mode is Mode.GARBAGE_200:
            return CAPTIVE_PORTAL
        if mode is Mode.UNAUTHORIZED:
            return api.failure(mode, None, until)
        try:
            submission = api.submission(call, path)
        except Refused as refused:
            return refused.answer
        if mode in _ANSWERED_IN_OWN_WORDS:
            return api.failure(mode, submission, until)
        if mode is Mode.TIMEOUT_BEFORE_ACCEPT:
            return Fault.SILENCE
        if submission.bad_recipient:
            return submission.bad_recipient
        if mode is Mode.ACCEPT_AND_DROP:
            return submission.success
        for mail in submission.mails:
            fate = Fate.BLOCK if mode is Mode.ACCEPT_AND_BLOCK else None
            self._inbox.add(replace(mail, fate=fate) if fate else mail, len(call.body))
        submission.taken(switch.seconds if mode is Mode.SLOW else 0.0)
        if mode is Mode.TIMEOUT_AFTER_ACCEPT:
            return Fault.SILENCE
        if mode is Mode.RESET_AFTER_ACCEPT:
            return Fault.RESET
        return submission.success
