"""The task of Celery, with its documentation's advice for many short tasks."""

import os
from functools import cache
from typing import Any

from celery import Celery

from bench.lean import Sender

app = Celery("bench", broker=f"redis+socket://{os.environ['BENCH_SOCKET']}")
app.conf.update(task_ignore_result=True, worker_hijack_root_logger=False)

_sender = cache(Sender)


@app.task
def send(mail: dict[str, Any]) -> None:
    _sender().send(mail)
