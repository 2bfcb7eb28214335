import io
import json
import logging

import pytest
import structlog

from app import logs


@pytest.fixture(autouse=True)
def as_before():
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def logged(log_format="json", log_level="info"):
    stream = io.StringIO()
    logs.configure(log_format, log_level, stream)
    return stream


def test_our_lines_and_those_of_libraries_look_the_same():
    stream = logged()
    structlog.get_logger().info("sent", message_id="msg_1")
    logging.getLogger("rq.worker").warning("lost %s", "it")
    ours, theirs = map(json.loads, stream.getvalue().splitlines())
    assert (ours["event"], ours["level"], ours["message_id"]) == ("sent", "info", "msg_1")
    assert (theirs["event"], theirs["level"], theirs["logger"]) == (
        "lost it",
        "warning",
        "rq.worker",
    )
    assert ours["timestamp"].endswith("Z")
    assert theirs["timestamp"].endswith("Z")


def test_below_the_level_nothing_is_logged():
    stream = logged(log_level="warning")
    structlog.get_logger().info("sent")
    assert stream.getvalue() == ""


def test_libraries_never_log_at_debug_since_some_would_tell_secrets_there():
    stream = logged(log_level="debug")
    structlog.get_logger().debug("ours")
    logging.getLogger("botocore.auth").debug("theirs")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["ours"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("ann@example.net", "a***@example.net"),
        (
            "Ann <ann.b+tag@example.net>, bob@example.org",
            "Ann <a***@example.net>, b***@example.org",
        ),
        ('"ann b"@example.net', '"***@example.net'),
        ("o'brien@example.net", "o***@example.net"),
        ("änne@exämple.net", "ä***@exämple.net"),
        (
            ["ann@example.net", {"to": "ann@example.net"}],
            ["a***@example.net", {"to": "a***@example.net"}],
        ),
        ("no address", "no address"),
        (17, 17),
    ],
)
def test_whole_addresses_are_masked_in_every_value(value, shown):
    stream = logged()
    structlog.get_logger().info("event", value=value)
    assert json.loads(stream.getvalue())["value"] == shown


def test_addresses_are_masked_in_tracebacks_and_in_lines_of_libraries():
    stream = logged()
    try:
        raise ValueError("ann@example.net")
    except ValueError:
        structlog.get_logger().exception("failed")
    logging.getLogger("x").error("no ann@example.net")
    assert "ann@" not in stream.getvalue()
    assert stream.getvalue().count("a***@example.net") >= 2


def test_ids_that_look_like_addresses_stay():
    stream = logged()
    structlog.get_logger().info("sent", provider_message_id="<123@mg.example.net>")
    assert json.loads(stream.getvalue())["provider_message_id"] == "<123@mg.example.net>"


@pytest.mark.parametrize("log_format", ["console", "logfmt", "auto"])
def test_every_format_is_one_line_an_event(log_format):
    stream = logged(log_format)
    structlog.get_logger().info("sent", attempt="a-1")
    assert stream.getvalue().count("\n") == 1
    assert "a-1" in stream.getvalue()


def test_a_stream_that_fails_does_not_break_what_is_logged():
    class Full(io.StringIO):
        def write(self, text):
            raise OSError("no space left")

    logs.configure("json", "info", Full())
    structlog.get_logger().info("sent")
    logging.getLogger("x").error("sent")
