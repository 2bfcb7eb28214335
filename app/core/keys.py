"""Every key in Redis, with its type and its expiry.

| key | type | holds | expiry |
|---|---|---|---|
| `sp:message:<id>` | hash | the record of a message | none while unfinished, then RETENTION |
| `sp:body:<id>` | string | its content, as JSON | as the record, or less once sent |
| `sp:attachments:<id>` | string | its files, after a line of JSON on them | as its content |
| `sp:timeline:<id>` | hash | what providers reported of it, by event | as the record |
| `sp:messages:<key>` | sorted set | an API key's message ids in lexical order | - |
| `sp:messages:<key>:<state>` | sorted set | the same, of one state | - |
| `sp:waiting` | sorted set | ids by the time (ms) at which they are due, of normal priority | - |
| `sp:waiting:<priority>` | sorted set | the same, of high priority, and of bulk | - |
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
| `sp:polled:<provider>` | string | up to when (ms) its events were read | 7 days |
| `sp:track-record:<provider>:<ms>` | hash | recipients whose mail it took then | some windows |
| `sp:stats:<key>:<day>` | hash | the numbers of an API key's mail of a day | 400 days |
| `sp:totals` | hash | the numbers of all mail there ever was | none |
| `sp:templates:<key>` | set | names of an API key's templates | none |
| `sp:template:<key>:<name>` | hash | a template and its versions | none; 2 years once deleted |
| `sp:suppressions` | hash | by address and reason, who put it there and when | none |
| `sp:suppression-order` | sorted set | the same addresses and reasons, in lexical order | - |
| `sp:callbacks:<key>` | hash | an API key's callbacks by id | none |
| `sp:callback-keys` | set | names of API keys that have some | none |
| `sp:callback-feed:<key>` | list | what they are to be told, after an empty entry | none |
| `sp:callback-direct` | list | what URLs of messages are to be told | none; empty soon |
| `sp:callback-reader` | string | who reads these lists | a second |
| `sp:callback-lanes` | sorted set | where callbacks go, by when (ms) the next is due | - |
| `sp:callback-failing-lanes` | sorted set | the same, where the last one failed | - |
| `sp:callback-lane:<key>:<id>…` | hash | how the last one there went | 8 days |
| `sp:callback-due:<key>:<id>…` | sorted set | deliveries by when (ms) they are due | 8 days |
| `sp:callback-busy:<key>:<id>…` | sorted set | those under way, by end (ms) of lease | a minute |
| `sp:callback-log:<key>:<id>` | sorted set | deliveries by when (ms) they began | 8 days |
| `sp:callback-done:<key>:<id>` | list | the last thousand that are over | 8 days |
| `sp:callback-delivery:<key>:<id>:<event>` | hash | what is told, and the tries | 8 days |
| `sp:login:<hash>` | string | the API key that a login link stands for | 10 min |

`sp:nothing` never exists: what is done to it only shows whether the server takes writes.

Members of sorted sets leave with what they stand for (-): a message that has moved on or is gone.

The keys of RQ's own data model begin with `rq:`; they are named here as RQ names them.

| key | type | holds | expiry |
|---|---|---|---|
| `rq:queues` | set | the queues that there are | none |
| `rq:queue:<queue>` | list | ids of messages whose ring is to be answered | - |
| `rq:job:<id>` | hash | what a ring calls; gone when the message is no longer in the queue | - |
| `rq:wip:<queue>` | sorted set | what workers have begun with, by when RQ gives it up | - |
| `rq:failed:<queue>` | sorted set | what RQ itself has given up | - |
| `rq:execution:<id>:<number>` | hash | one such beginning | minutes |
| `rq:executions:<id>` | sorted set | those of a message | minutes |
| `rq:worker:<worker>` | hash | a worker that lives | minutes |
| `rq:worker:<worker>:executions` | set | what it has begun with | minutes |
| `rq:workers` | set | the workers that live | none |
| `rq:workers:<queue>` | set | those of a queue | none |
"""

MESSAGE = "sp:message:"
BODY = "sp:body:"
ATTACHMENTS = "sp:attachments:"
TIMELINE = "sp:timeline:"
MESSAGES = "sp:messages:"
WAITING = "sp:waiting"
WAITING_HIGH = "sp:waiting:high"
WAITING_BULK = "sp:waiting:bulk"
WAITING_BY_PRIORITY = (WAITING_HIGH, WAITING, WAITING_BULK)
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
CALLBACKS = "sp:callbacks:"
CALLBACK_KEYS = "sp:callback-keys"
CALLBACK_FEED = "sp:callback-feed:"
CALLBACK_DIRECT = "sp:callback-direct"
CALLBACK_READER = "sp:callback-reader"
CALLBACK_LANES = "sp:callback-lanes"
CALLBACK_FAILING_LANES = "sp:callback-failing-lanes"
CALLBACK_LANE = "sp:callback-lane:"
CALLBACK_DUE = "sp:callback-due:"
CALLBACK_BUSY = "sp:callback-busy:"
CALLBACK_LOG = "sp:callback-log:"
CALLBACK_DONE = "sp:callback-done:"
CALLBACK_DELIVERY = "sp:callback-delivery:"
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


def track_record(provider: str, start: int) -> str:
    return f"sp:track-record:{provider}:{start}"


def login(token_hash: str) -> str:
    return f"sp:login:{token_hash}"


def callbacks(api_key: str) -> str:
    return CALLBACKS + api_key


def callback_feed(api_key: str) -> str:
    return CALLBACK_FEED + api_key


def callback_lane(api_key: str, endpoint_id: str) -> str:
    return f"{CALLBACK_LANE}{api_key}:{endpoint_id}"


def callback_log(api_key: str, endpoint_id: str) -> str:
    return f"{CALLBACK_LOG}{api_key}:{endpoint_id}"


def callback_delivery(api_key: str, endpoint_id: str, event_id: str) -> str:
    return f"{CALLBACK_DELIVERY}{api_key}:{endpoint_id}:{event_id}"


def stats(api_key: str, day: str) -> str:
    return f"sp:stats:{api_key}:{day}"


def templates(api_key: str) -> str:
    return f"sp:templates:{api_key}"


def template(api_key: str, name: str) -> str:
    return f"sp:template:{api_key}:{name}"
