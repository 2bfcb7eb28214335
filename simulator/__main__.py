"""`python -m simulator`: play the providers until told to stop."""

import asyncio
import logging
import signal
import sys

import structlog

from config import (
    SIMULATED_PROVIDERS,
    Settings,
    SettingsError,
    simulated_signing_key,
    simulator_environment,
)
from simulator.credentials import Credentials
from simulator.server import LOOPBACK, Simulator
from simulator.signing import Signer, SigningKeys
from simulator.switches import Provider
from simulator.webhooks import Webhooks

log = structlog.get_logger()


def main() -> int:
    try:
        settings = Settings.from_env()
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    _configure_logs(settings.log_format, settings.log_level)
    simulator = Simulator(
        Credentials.from_environment(simulator_environment(settings)),
        host=settings.host,
        port=settings.simulator_port,
        api_ports=settings.simulator_api_ports,
        webhooks=_webhooks(settings),
        in_use=[Provider(name) for name in settings.providers if name in SIMULATED_PROVIDERS],
    )
    try:
        asyncio.run(_serve(simulator, settings.host))
    except OSError as error:
        advice = "choose another one with SIMULATOR_PORT or SIMULATOR_API_PORTS"
        print(f"The simulator cannot use {error.strerror}; {advice}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _webhooks(settings: Settings) -> Webhooks | None:
    url, values = settings.simulated_webhooks_url, simulator_environment(settings)
    if url is None:
        return None
    # A provider is given the public address, and signs that; how it gets there is another matter.
    public_url = settings.public_url if settings.simulator_webhooks == "auto" else url
    signing_key = simulated_signing_key(settings)
    keys = SigningKeys.from_environment(values, signing_key, public_url)
    return Webhooks(url, Signer(keys))


async def _serve(simulator: Simulator, host: str) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    simulator.open()
    shown = LOOPBACK if host == "0.0.0.0" else f"[{host}]" if ":" in host else host  # noqa: S104
    log.info("simulator_listening", url=f"http://{shown}:{simulator.port}/")
    await stopped.wait()
    simulator.close()


def _configure_logs(form: str, level: str) -> None:
    if form == "auto":
        form = "console" if sys.stdout.isatty() else "json"
    renderer: structlog.typing.Processor
    if form == "console":
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())
    elif form == "logfmt":
        renderer = structlog.processors.LogfmtRenderer()
    else:
        renderer = structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
    )


if __name__ == "__main__":
    sys.exit(main())
