"""Telling by its request a machine that fetches a pixel or follows a link from a person who does.

That is known to be incomplete in both directions: who wants to look like a browser does. Hence what
a machine did is kept and marked, and only not counted.

Where the rules are from: Apple's Mail Privacy Protection fetches every image, read or not, and says
nothing but `Mozilla/5.0` (https://github.com/ua-parser/uap-core/issues/509). Gmail fetches some
images before a mail is shown, as an Edge that never was, and samples links under a name of its own
(https://bird.com/en-us/blog/gmail-prefetching-images,
https://github.com/mssola/user_agent/issues/71). Browsers that fetch ahead say so in Sec-Purpose
(https://fetch.spec.whatwg.org/#sec-purpose-header), once in Purpose or X-Moz. The proxies of Gmail
and Yahoo (GoogleImageProxy, YahooMailProxy) are no such machines: they fetch an image when a person
looks at the mail. The other names are those that scanners, previews and HTTP libraries give
themselves.
"""

import re
from collections.abc import Mapping
from datetime import timedelta

from providers.types import EventType

SOONEST = timedelta(seconds=2)
"""What comes sooner after a provider took the mail is a machine's: nobody reads so quickly."""

USER_AGENTS: tuple[tuple[EventType | None, str], ...] = (
    (EventType.OPENED, r"Mozilla/5\.0"),
    (EventType.OPENED, r".* Edge/12\.246 Mozilla/5\.0"),
    (EventType.OPENED, r".*NetworkingExtension/.*"),
    (None, r".*Gmail-content-sampling.*"),
    (None, r".*(barracuda|proofpoint|mimecast|symantec|fireeye|trendmicro|sophos).*"),
    (None, r".*(bitdefender|forcepoint|ironport|messagelabs|google-safety|cloudmark).*"),
    (None, r".*(?<!cu)bot\b.*"),
    (None, r".*(crawler|spider|scanner|slurp|urlpreview|link ?preview|bingpreview).*"),
    (None, r".*(facebookexternalhit|whatsapp/|skypeuripreview|microsoftpreview).*"),
    (None, r".*(headlesschrome|phantomjs|puppeteer|playwright|selenium).*"),
    (None, r"(curl|wget|libwww-perl|python|go-http-client|java|okhttp|axios|node|ruby|php)\b.*"),
    (None, r"(apache-httpclient|guzzlehttp|http_request2?|winhttp|headless)\b.*"),
)
"""What User-Agents of machines are like, whatever their case, and for which event that is so."""

_PURPOSES = ("sec-purpose", "purpose", "x-purpose", "x-moz")
_AHEAD = re.compile(r"\b(prefetch|prerender|preview)\b", re.IGNORECASE)


def _matching(kind: EventType) -> re.Pattern[str]:
    patterns = (pattern for of, pattern in USER_AGENTS if of in (None, kind))
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns), re.IGNORECASE)


_MACHINES = {kind: _matching(kind) for kind in (EventType.OPENED, EventType.CLICKED)}
_LONGEST_NAME = 1000


def is_machine(kind: EventType, headers: Mapping[str, str]) -> bool:
    """Whether a request that opens or clicks is a machine's; names of headers in lower case."""
    user_agent = headers.get("user-agent", "").strip()[:_LONGEST_NAME]
    if not user_agent or _MACHINES[kind].fullmatch(user_agent):
        return True
    return any(_AHEAD.search(headers.get(name, "")) for name in _PURPOSES)
