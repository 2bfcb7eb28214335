"""How a process logs: one renderer for structlog and the standard library, set once at start."""

import contextlib
import json
import logging
import re
import sys
from typing import Any, TextIO, cast

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

# A quoted local part, or any run of characters that can stand before the @ of a bare one.
_LOCAL_PART = re.compile(r'(?:"[^"]*"|[^\s@<>"(),;:\[\]]+)(?=@)')


class _Outlet:
    """A stream that never raises: a full disk or a closed pipe must not turn into a failed send."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


def configure(log_format: str, log_level: str, stream: TextIO | None = None) -> None:
    """Log from `log_level` up to `stream` (standard output) as `console`, `json` or `logfmt`.

    `auto` is `console` on a terminal, else `json`.
    """
    for_good, stream = stream is None, stream or sys.stdout
    level = logging.getLevelNamesMapping()[log_level.upper()]
    common: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        mask_addresses,
    ]
    renderer = _renderer(log_format, stream)
    outlet = _Outlet(stream)
    structlog.configure(
        processors=[*common, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, outlet)),
        # Putting a logger together for each line costs as much as the line.
        cache_logger_on_first_use=for_good,
    )
    _route_standard_logging(common, renderer, level, outlet)


def _renderer(log_format: str, stream: TextIO) -> Processor:
    if log_format == "auto":
        log_format = "console" if stream.isatty() else "json"
    if log_format == "console":
        return structlog.dev.ConsoleRenderer(
            colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    if log_format == "logfmt":
        return structlog.processors.LogfmtRenderer(
            key_order=["timestamp", "level", "event"], bool_as_flag=False
        )
    return structlog.processors.JSONRenderer(_to_json)


def _to_json(event: EventDict, **options: Any) -> str:
    try:
        return orjson.dumps(event, options["default"]).decode()
    except TypeError:
        # Texts that are no Unicode, and numbers that are too large for it.
        return json.dumps(event, **options)


def _route_standard_logging(
    common: list[Processor], renderer: Processor, level: int, outlet: _Outlet
) -> None:
    handler = logging.StreamHandler(outlet)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *common],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    # Libraries tell little of use below WARNING, and at DEBUG some write credentials and bodies.
    root.setLevel(max(level, logging.INFO if level == logging.DEBUG else logging.WARNING))
    for name in ("_granian", "granian.access", "werkzeug"):
        logger = logging.getLogger(name)
        logger.handlers = []
        logger.propagate = True


def mask_addresses(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Leave of every e-mail address its first letter and domain; a safety net, not a licence.

    Values under a name that ends in `_id` stay: providers' message ids look like addresses.
    """
    for name, value in event.items():
        if not name.endswith("_id"):
            event[name] = _masked(value)
    return event


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        if "@" not in value:
            return value
        return _LOCAL_PART.sub(lambda match: f"{match[0][0]}***", value)
    if isinstance(value, list | tuple):
        return [_masked(item) for item in value]
    if isinstance(value, dict):
        return {name: _masked(item) for name, item in value.items()}
    return value
