"""The pages: the inbox, a mail as its recipient sees it, the switches and the credentials."""

import base64
import re
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from simulator.credentials import Credentials
from simulator.http import Answer, Call
from simulator.inbox import KEPT_BYTES, KEPT_MAILS, Entry, Inbox
from simulator.mail import Mail
from simulator.switches import LONGEST_SECONDS, MEANINGS, Mode, Provider, Switch, Switches
from simulator.webhooks import Webhooks, changed

TITLES = {
    Provider.MAILGUN: "Mailgun",
    Provider.SENDGRID: "SendGrid",
    Provider.SES: "Amazon SES",
    Provider.POSTMARK: "Postmark",
    Provider.RESEND: "Resend",
    Provider.MANDRILL: "Mandrill",
}

_HERE = Path(__file__).parent
_STATIC = {
    # One copy of Bootstrap serves Steadpost's pages and these.
    "bootstrap.min.css": _HERE.parent / "app/web/static/vendor/bootstrap.min.css",
    **{name: _HERE / "static" / name for name in ("simulator.css", "theme.js", "live.js")},
    "icon.svg": _HERE / "static" / "icon.svg",
}
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_PAGE_SIZE = 25

_SAFE = (("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "same-origin"))
_PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
# A mail's HTML has an address of its own, so that its inline styles need no hole in the page's
# policy; it stays in its sandbox even when somebody opens that address by itself.
_MAIL_POLICY = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
)


class Pages:
    """What a person sees with a browser.

    Of the switches, those of the providers that are `in_use` or were called all the same.
    """

    def __init__(
        self,
        switches: Switches,
        inbox: Inbox,
        credentials: Credentials,
        webhooks: Webhooks | None = None,
        in_use: Collection[Provider] = tuple(Provider),
    ) -> None:
        self._webhooks = webhooks
        self._in_use = in_use
        self._switches = switches
        self._inbox = inbox
        self._credentials = credentials
        self._environment = Environment(
            loader=FileSystemLoader(_HERE / "templates"),
            # The examples are text; they are escaped where a page shows them.
            autoescape=select_autoescape(["html"]),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {"moment": _moment, "size": _size, "snippet": _snippet}
        self._environment.globals |= {
            "titles": TITLES,
            "modes": MEANINGS,
            "longest_seconds": LONGEST_SECONDS,
            "kept_mails": KEPT_MAILS,
            "kept_bytes": KEPT_BYTES,
        }
        self._routes: tuple[tuple[str, str, Callable[[Call, re.Match[str]], Answer]], ...] = (
            ("GET", r"/", self._front),
            ("GET", r"/mails/([0-9]{1,12})", self._mail),
            ("GET", r"/mails/([0-9]{1,12})/html", self._mail_html),
            ("GET", r"/mails/([0-9]{1,12})/attachments/([0-9]{1,3})", self._attachment),
            ("GET", r"/static/([a-z.]+)", self._static),
            ("POST", r"/switches", self._flip_all),
            ("POST", r"/webhook-switch", self._set_webhooks),
            ("POST", r"/switches/([a-z]+)", self._flip),
            ("POST", r"/inbox/clear", self._clear),
        )

    def answer(self, call: Call) -> Answer | None:
        """The answer to a call, None if it leads to no page."""
        method = "GET" if call.method == "HEAD" else call.method
        for allowed, pattern, route in self._routes:
            if method == allowed and (match := re.fullmatch(pattern, call.path)):
                return route(call, match)
        return None

    def _front(self, call: Call, _match: re.Match[str]) -> Answer:
        after = parse_qs(call.query).get("after", [""])[0]
        start = int(after) if re.fullmatch(r"[0-9]{1,12}", after) else None
        entries = self._inbox.newest(_PAGE_SIZE + 1, start)
        base_url = f"http://{_host(call)}"
        return self._page(
            "inbox.html",
            entries=entries[:_PAGE_SIZE],
            older=entries[_PAGE_SIZE - 1].id if len(entries) > _PAGE_SIZE else None,
            start=start,
            kept=len(self._inbox),
            switches={name: self._switches[name] for name in self._shown()},
            counts=self._inbox.counts,
            examples={name: self._example(name, base_url) for name in Provider},
            credentials=self._credentials,
            webhooks=self._webhooks,
            base_url=base_url,
        )

    def _mail(self, _call: Call, match: re.Match[str]) -> Answer:
        entry = self._inbox.get(int(match[1]))
        if entry is None:
            return self._gone()
        return self._page(
            "mail.html",
            entry=entry,
            mail=entry.mail,
            newer=self._inbox.get(entry.id + 1),
            older=self._inbox.get(entry.id - 1),
        )

    def _mail_html(self, _call: Call, match: re.Match[str]) -> Answer:
        entry = self._inbox.get(int(match[1]))
        if entry is None or entry.mail.html is None:
            return self._gone()
        body = _with_images(entry.mail).encode("utf-8", "replace")
        headers = (*_SAFE, ("Content-Security-Policy", _MAIL_POLICY))
        return Answer(200, body, "text/html; charset=utf-8", headers)

    def _attachment(self, _call: Call, match: re.Match[str]) -> Answer:
        entry = self._inbox.get(int(match[1]))
        if entry is None or int(match[2]) >= len(entry.mail.attachments):
            return self._gone()
        attachment = entry.mail.attachments[int(match[2])]
        name = quote(attachment.filename, safe="")
        headers = (
            *_SAFE,
            ("Content-Security-Policy", _MAIL_POLICY),
            ("Content-Disposition", f"attachment; filename*=UTF-8''{name}"),
        )
        return Answer(200, attachment.content, "application/octet-stream", headers)

    def _static(self, _call: Call, match: re.Match[str]) -> Answer:
        path = _STATIC.get(match[1])
        if path is None or not path.exists():
            return self._gone()
        headers = (*_SAFE, ("Cache-Control", "max-age=300"))
        return Answer(200, path.read_bytes(), _TYPES[path.suffix], headers)

    def _flip_all(self, call: Call, _match: re.Match[str]) -> Answer:
        return self._set(call, *Provider)

    def _flip(self, call: Call, match: re.Match[str]) -> Answer:
        if match[1] not in list(Provider):
            return self._gone()
        return self._set(call, Provider(match[1]))

    def _set(self, call: Call, *providers: Provider) -> Answer:
        form = parse_qs(call.body.decode("utf-8", "replace"))
        mode = form.get("mode", [""])[0]
        try:
            seconds = float(form.get("seconds", [str(Switch().seconds)])[0])
        except ValueError:
            seconds = 0.0
        if mode not in list(Mode) or not 0 < seconds <= LONGEST_SECONDS:
            return self._page("refused.html", status=422)
        for provider in providers:
            self._switches.set(provider, Switch(Mode(mode), seconds, self._switches[provider].lag))
        return _see_other("/#providers")

    def _set_webhooks(self, call: Call, _match: re.Match[str]) -> Answer:
        form = {
            name: texts[0] for name, texts in parse_qs(call.body.decode("utf-8", "replace")).items()
        }
        if self._webhooks is None:
            return self._gone()
        try:
            numbers = {name: float(text) for name, text in form.items() if name != "on"}
            wanted = {**numbers, "on": form.get("on") == "true"}
            self._webhooks.troubles = changed(self._webhooks.troubles, wanted)
        except ValueError:
            return self._page("refused.html", status=422)
        return _see_other("/#webhooks-title")

    def _clear(self, _call: Call, _match: re.Match[str]) -> Answer:
        self._inbox.clear()
        return _see_other("/#inbox")

    def _shown(self) -> list[Provider]:
        called = (name for name, count in self._inbox.counts.items() if count.calls)
        return list(dict.fromkeys((*self._in_use, *called)))

    def _example(self, provider: Provider, base_url: str) -> str:
        template = self._environment.get_template(f"examples/{provider}.txt")
        return template.render(credentials=self._credentials, base_url=base_url)

    def _gone(self) -> Answer:
        return self._page("gone.html", status=404)

    def _page(self, template: str, *, status: int = 200, **context: object) -> Answer:
        body = self._environment.get_template(template).render(context)
        headers = (
            *_SAFE,
            ("Content-Security-Policy", _PAGE_POLICY),
            ("Cache-Control", "no-store"),
        )
        return Answer(status, body.encode("utf-8", "replace"), "text/html; charset=utf-8", headers)


def _see_other(location: str) -> Answer:
    return Answer(303, headers=(("Location", location),))


def _host(call: Call) -> str:
    host = call.headers.get("host", "")
    return host if re.fullmatch(r"[A-Za-z0-9.:\[\]-]{1,255}", host) else "127.0.0.1"


def _with_images(mail: Mail) -> str:
    """The mail's HTML with the images that it carries in place of their content ids."""
    images = {
        one.content_id: one
        for one in mail.attachments
        if one.content_id and re.fullmatch(r"image/[a-z0-9.+-]+", one.content_type)
    }

    def image(match: re.Match[str]) -> str:
        found = images.get(unquote(match[1]))
        if found is None:
            return match[0]
        return f"data:{found.content_type};base64,{base64.b64encode(found.content).decode()}"

    return re.sub(r"\bcid:([^\s\"'<>)]+)", image, mail.html or "")


def _moment(entry: Entry) -> str:
    return datetime.fromtimestamp(entry.received_at, UTC).isoformat(timespec="seconds")


def _size(number: float) -> str:
    for unit in ("bytes", "kB"):
        if number < 1_000:
            return f"{number:.3g} {unit}"
        number /= 1_000
    return f"{number:.3g} MB"


def _snippet(mail: Mail) -> str:
    """The first words of a mail, for the list."""
    text = mail.text
    if text is None:
        without_style = re.sub(r"(?is)<(style|script|title)\b.*?</\1>", " ", mail.html or "")
        text = re.sub(r"<[^>]*>", " ", without_style)
    return " ".join(text[:2_000].split())[:140]
