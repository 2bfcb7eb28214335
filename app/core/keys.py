"""Every key in Redis, with its type and its expiry.

| key | type | holds | expiry |
|---|---|---|---|
| `sp:message:<id>` | hash | the record of a message | none while unfinished, then RETENTION |
| `sp:body:<id>` | string | its content, as JSON | as the record; deleted once sent |
| `sp:messages:<key>` | sorted set | an API key's message ids in lexical order | - |
| `sp:messages:<key>:<state>` | sorted set | the same, of one state | - |
| `sp:waiting` | sorted set | ids by the time (ms) at which they are due | - |
| `sp:queued` | sorted set | ids by the sequence number of their ring | - |
| `sp:leased` | sorted set | ids by the end (ms) of their lease | - |
| `sp:ended` | sorted set | ids by the time (ms) at which their record goes | - |
| `sp:ring` | string | the last sequence number | none |
| `sp:idempotency:<key>:<hash>` | hash | fingerprint and message id | 24 h after the mail was due |
| `sp:sweeper` | string | who sweeps | seconds |
| `sp:fitness` | hash | by provider, its breaker, rest and pause | none |
| `sp:refused-senders` | sorted set | provider and From domain by end (ms) of the memory | - |
| `sp:login:<hash>` | string | the API key that a login link stands for | 10 min |

`sp:nothing` never exists: what is done to it only shows whether the server takes writes.

Members of sorted sets leave with what they stand for (-): a message that has moved on or is gone.

The keys of RQ's own data model begin with `rq:`; they are named here as RQ names them.
"""

MESSAGE = "sp:message:"
BODY = "sp:body:"
MESSAGES = "sp:messages:"
WAITING = "sp:waiting"
QUEUED = "sp:queued"
LEASED = "sp:leased"
ENDED = "sp:ended"
RING = "sp:ring"
SWEEPER = "sp:sweeper"
FITNESS = "sp:fitness"
REFUSED_SENDERS = "sp:refused-senders"
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


def messages(api_key: str, state: str | None = None) -> str:
    return MESSAGES + api_key if state is None else f"{MESSAGES}{api_key}:{state}"


def idempotency(api_key: str, key_hash: str) -> str:
    return f"sp:idempotency:{api_key}:{key_hash}"


def login(token_hash: str) -> str:
    return f"sp:login:{token_hash}"
