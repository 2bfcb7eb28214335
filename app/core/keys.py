"""Every key in Redis, with its type and its expiry.

| key | type | holds | expiry |
|---|---|---|---|
| `sp:message:<id>` | hash | the record of a message | none while unfinished, then RETENTION |
| `sp:body:<id>` | string | its content, as JSON | as the record; deleted once sent |
| `sp:attachments:<id>` | string | its files, after a line of JSON on them | as its content |
| `sp:timeline:<id>` | hash | what providers reported of it, by event | as the record |
| `sp:messages:<key>` | sorted set | an API key's message ids in lexical order | - |
| `sp:messages:<key>:<state>` | sorted set | the same, of one state | - |
| `sp:waiting` | sorted set | ids by the time (ms) at which they are due | - |
| `sp:queued` | sorted set | ids by queue and the sequence number of their ring | - |
| `sp:leased` | sorted set | ids by the end (ms) of their lease | - |
| `sp:ended` | sorted set | ids by the time (ms) at which their record goes | - |
| `sp:ring` | string | the last sequence number | none |
| `sp:bell` | list | one entry if there has been a ring since the queues were found empty | none |
| `sp:turns` | string | turns given while queues had to share | none |
| `sp:idempotency:<key>:<hash>` | hash | fingerprint and answer | 24 h after it was due |
| `sp:sweeper` | string | who sweeps | seconds |
| `sp:poller` | string | who asks providers for events | a minute |
| `sp:fitness` | hash | by provider, its breaker, rest and pause | none |
| `sp:refused-senders` | sorted set | provider and From domain by end (ms) of the memory | - |
| `sp:routes` | string | the routes with their version | none |
| `sp:quota:<provider>:<window>` | hash | tokens taken, by slot of time | the window's length |
| `sp:events` | sorted set | events to be applied, as JSON, by when (ms) they are due | - |
| `sp:webhooks` | hash | how many of what each provider told, and when last | none |
| `sp:webhook-token:<hash>` | string | that a webhook with this token has come | hours |
| `sp:polled:<provider>` | string | up to when (ms) its events were read | RETENTION |
| `sp:stats:<key>:<day>` | hash | the numbers of an API key's mail of a day | 400 days |
| `sp:totals` | hash | the numbers of all mail there ever was | none |
| `sp:templates:<key>` | set | names of an API key's templates | none |
| `sp:template:<key>:<name>` | hash | a template and its versions | none; 2 years once deleted |
| `sp:suppressions` | hash | by address and reason, who put it there and when | none |
| `sp:suppression-order` | sorted set | the same addresses and reasons, in lexical order | - |
| `sp:login:<hash>` | string | the API key that a login link stands for | 10 min |

`sp:nothing` never exists: what is done to it only shows whether the server takes writes.

Members of sorted sets leave with what they stand for (-): a message that has moved on or is gone.

The keys of RQ's own data model begin with `rq:`; they are named here as RQ names them.
"""

MESSAGE = "sp:message:"
BODY = "sp:body:"
ATTACHMENTS = "sp:attachments:"
TIMELINE = "sp:timeline:"
MESSAGES = "sp:messages:"
WAITING = "sp:waiting"
QUEUED = "sp:queued"
LEASED = "sp:leased"
ENDED = "sp:ended"
RING = "sp:ring"
BELL = "sp:bell"
TURNS = "sp:turns"
SWEEPER = "sp:sweeper"
FITNESS = "sp:fitness"
REFUSED_SENDERS = "sp:refused-senders"
ROUTES = "sp:routes"
QUOTA = "sp:quota:"
EVENTS = "sp:events"
POLLER = "sp:poller"
WEBHOOKS = "sp:webhooks"
TOTALS = "sp:totals"
SUPPRESSIONS = "sp:suppressions"
SUPPRESSION_ORDER = "sp:suppression-order"
NOTHING = "sp:nothing"

RQ_QUEUES = "rq:queues"
RQ_QUEUE = "rq:queue:"
RQ_JOB = "rq:job:"
RQ_STARTED = "rq:wip:"
RQ_EXECUTION = "rq:execution:"
RQ_EXECUTIONS = "rq:executions:"
RQ_FAILED = "rq:failed:"
RQ_WORKER = "rq:worker:"


def message(message_id: str) -> str:
    return MESSAGE + message_id


def body(message_id: str) -> str:
    return BODY + message_id


def attachments(message_id: str) -> str:
    return ATTACHMENTS + message_id


def timeline(message_id: str) -> str:
    return TIMELINE + message_id


def messages(api_key: str, state: str | None = None) -> str:
    return MESSAGES + api_key if state is None else f"{MESSAGES}{api_key}:{state}"


def idempotency(api_key: str, key_hash: str) -> str:
    return f"sp:idempotency:{api_key}:{key_hash}"


def quota(provider: str, window: str) -> str:
    return f"{QUOTA}{provider}:{window}"


def webhook_token(token_hash: str) -> str:
    return f"sp:webhook-token:{token_hash}"


def polled(provider: str) -> str:
    return f"sp:polled:{provider}"


def login(token_hash: str) -> str:
    return f"sp:login:{token_hash}"


def stats(api_key: str, day: str) -> str:
    return f"sp:stats:{api_key}:{day}"


def templates(api_key: str) -> str:
    return f"sp:templates:{api_key}"


def template(api_key: str, name: str) -> str:
    return f"sp:template:{api_key}:{name}"
