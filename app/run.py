"""What `make run` runs: the store, the simulator, the web process and the workers."""

import contextlib
import http.client
import shlex
import signal
import socket
import sys
from urllib.parse import urlsplit

from app import embedded_store, ports
from app.core.scripting import StoreUnavailable
from app.embedded_store import DirectoryLock
from app.services import build, check_server
from app.supervisor import ChildSpec, Supervisor
from config import SIMULATED_PROVIDERS, Settings, SettingsError, store_socket

_LOOPBACK = "127.0.0.1"
_SECONDS_FOR_LEFTOVERS = 5.0
_SECONDS_FOR_REQUESTS = 3
_STORE, _SIMULATOR, _WEB, _WORKERS = range(4)
_EXAMPLE = (
    '{"from": "Shop <orders@shop.example>", "to": "Ann <ann@example.net>",'
    ' "subject": "Your order", "text": "It is on its way."}'
)


def run(settings: Settings) -> None:
    """Run until a signal says to stop.

    Raises `SettingsError`, `EmbeddedStoreError` or `StartError`, with one line for each fault.
    """
    with _data_dir(settings) as lock:
        settings, notes = with_ports(settings, lock is not None and lock.previous_run_died)
        # Before anything starts: what is wrong with a provider's settings is said once, here.
        services = build(settings)
        if lock is None:
            _check_server(settings)

        def greet() -> None:
            try:
                token = services.logins.issue(settings.api_keys[0].name)
            except StoreUnavailable:
                # As in the middle of a failover: all runs, and an API key logs in as well.
                token = None
            sys.stdout.write(greeting(settings, token, notes))
            sys.stdout.flush()

        Supervisor(processes(settings, lock), settings.environment, greet).run()


def _data_dir(
    settings: Settings,
) -> contextlib.AbstractContextManager[DirectoryLock | None]:
    if settings.embedded_store:
        return embedded_store.locked(settings.data_dir)
    return contextlib.nullcontext()


def _check_server(settings: Settings) -> None:
    try:
        # The workers say the rest.
        check_server(settings, aloud=False)
    except StoreUnavailable as error:
        given = "REDIS_SENTINELS" if settings.redis_sentinels else "REDIS_URL"
        raise SettingsError([f"{given}: no answer from there: {error}"]) from None


def with_ports(settings: Settings, previous_run_died: bool) -> tuple[Settings, list[str]]:
    """The settings with every port decided, and what to tell about that.

    What is left of a run that died may take a moment to be gone. Raises `SettingsError` where a
    port that was asked for is taken.
    """
    patience = _SECONDS_FOR_LEFTOVERS if previous_run_died else 0.0
    chosen: dict[str, str] = {}
    faults: list[str] = []
    notes: list[str] = []
    if fault := ports.obstacle(settings.host, settings.port, patience):
        faults.append(f"PORT: {fault}; choose another one: make run PORT=…")
    if settings.simulator:
        # It is on the loopback too, where the providers' base URLs lead.
        hosts = {settings.host, _LOOPBACK}
        port = settings.simulator_port
        found = (ports.obstacle(host, port, patience) for host in sorted(hosts))
        fault = next(filter(None, found), None)
        if fault and settings.is_given("SIMULATOR_PORT"):
            faults.append(f"SIMULATOR_PORT: {fault}; choose another one")
        elif fault:
            (port,) = ports.free_ports(1, *hosts)
            chosen["SIMULATOR_PORT"] = str(port)
            notes.append(f"{fault}, so the simulator has port {port}.")
        if not settings.simulator_api_ports:
            names = [name for name in SIMULATED_PROVIDERS if name in settings.providers]
            pairs = zip(names, ports.free_ports(len(names), _LOOPBACK), strict=True)
            chosen["SIMULATOR_API_PORTS"] = ",".join(f"{name}:{port}" for name, port in pairs)
    if faults:
        raise SettingsError(faults)
    return Settings.from_env({**settings.environment, **chosen}), notes


def processes(settings: Settings, lock: DirectoryLock | None) -> list[ChildSpec]:
    """Everything that runs, as the supervisor wants it."""
    specs = []
    if lock is not None:
        path = store_socket(settings.data_dir)
        specs.append(
            ChildSpec(
                name="store",
                argv=embedded_store.command(embedded_store.find_server(settings), settings),
                stage=_STORE,
                ready=lambda: embedded_store.answers(path),
                orphan_signal=signal.SIGTERM,
                pass_fds=(lock.file,),
                umask=0o077,
                on_failure=f"{embedded_store.log_file(settings)} says why",
            )
        )
    if settings.simulator:
        specs.append(
            ChildSpec(
                name="simulator",
                argv=(sys.executable, "-m", "simulator"),
                stage=_SIMULATOR,
                ready=lambda: _listens(settings.simulator_url),
                grace=5.0,
            )
        )
    specs.append(
        ChildSpec(
            name="web",
            argv=web_command(settings),
            stage=_WEB,
            ready=lambda: _is_live(settings.local_url),
            grace=_SECONDS_FOR_REQUESTS + 2.0,
        )
    )
    specs += [
        ChildSpec(name=f"worker-{number}", argv=(sys.executable, "-m", "workers"), stage=_WORKERS)
        for number in range(1, settings.worker_processes + 1)
    ]
    return specs


def web_command(settings: Settings) -> tuple[str, ...]:
    """The command line of the web process; the Procfile has the same for a host of its own."""
    options = {
        "interface": "wsgi",
        "http": "1",
        "host": settings.host,
        "port": str(settings.port),
        "workers": str(settings.web_processes),
        # Under `appendfsync always` a request waits for the disk, and others can go on meanwhile.
        "blocking-threads": "4",
        "workers-kill-timeout": str(_SECONDS_FOR_REQUESTS),
        "respawn-interval": "0.5",
        "log-level": "warning",
    }
    flags = ("--no-ws", "--no-access-log", "--respawn-failed-workers")
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    return (sys.executable, "-m", "granian", *words, *flags, "wsgi:app")


def _listens(url: str) -> bool:
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname, parts.port), timeout=1.0):
            return True
    except OSError:
        return False


def _is_live(base_url: str) -> bool:
    connection = http.client.HTTPConnection(urlsplit(base_url).netloc, timeout=1.0)
    try:
        connection.request("GET", "/livez")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def greeting(settings: Settings, login_token: str | None, notes: list[str]) -> str:
    """What a person reads when everything runs; without a token, who logs in needs the key."""
    # The whole path, so that the line works from wherever it is pasted.
    key_file = settings.data_dir.resolve() / "api-key"
    if settings.is_given("API_KEYS"):
        kept, secret = "in API_KEYS", f"<secret of {settings.api_keys[0].name}>"
    else:
        kept, secret = str(key_file), f"$(cat {shlex.quote(str(key_file))})"
    login = f"{settings.public_url}/login"
    login += (
        "  (with the API key)"
        if login_token is None
        else f"/{login_token}  (once, within ten minutes)"
    )
    lines = [
        "",
        "Steadpost runs. Ctrl-C stops it.",
        "",
        f"  Page        {settings.public_url}/",
        f"  Log in      {login}",
        f"  API key     {kept}",
    ]
    if settings.simulator:
        inbox = f"{settings.simulator_url}/"
        lines.append(f"  Simulator   {inbox}  (no mail leaves this machine; its inbox is there)")
    lines += [*(f"  {note}" for note in notes), "", "Send a message:", ""]
    lines.append(
        f'  curl -H "Authorization: Bearer {secret}" -H "Content-Type: application/json"'
        f" -d {shlex.quote(_EXAMPLE)} {settings.local_url}/messages"
    )
    return "\n".join([*lines, "", ""])
