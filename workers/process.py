"""One worker process: put together, watched for signals, begun again when Redis was away."""

import signal
import sys
from types import FrameType

import structlog
from redis.exceptions import RedisError

from app import garbage, logs
from app.core.scripting import StoreUnavailable
from app.services import build_worker, check_server
from config import Settings, SettingsError
from workers.worker import MailWorker, Stop

log = structlog.get_logger(__name__)

_GRACE_SECONDS = 10.0
_WAIT_SECONDS = 1.0


def main() -> int:
    try:
        settings = Settings.from_env()
        logs.configure(settings.log_format, settings.log_level)
        stop = Stop(_GRACE_SECONDS + settings.send_deadline)
        services = build_worker(settings, stop.pause)
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2

    def ask(_number: int, _frame: FrameType | None) -> None:
        stop.ask()

    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGINT, ask)
    garbage.settle()
    while not stop.asked:
        try:
            check_server(settings, aloud=True)
            worker = MailWorker(services, settings.worker_concurrency, stop)
        except SettingsError as error:
            print(error, file=sys.stderr)  # noqa: T201
            return 2
        except (StoreUnavailable, RedisError) as error:
            log.warning("worker waits for Redis", error=str(error))
            stop.wait(_WAIT_SECONDS)
            continue
        worker.run()
    for provider in services.providers.values():
        provider.close()
    return 0
