"""The WSGI application, for the server that the Procfile and the supervisor start."""

import contextlib

from app import garbage, logs
from app.core.scripting import StoreUnavailable
from app.factory import create_app
from app.services import build, check_server
from config import Settings, SettingsError

try:
    _settings = Settings.from_env()
    logs.configure(_settings.log_format, _settings.log_level)
    # While the store is away, requests are told so; workers look at it when it is back.
    with contextlib.suppress(StoreUnavailable):
        check_server(_settings, aloud=False)
    app = create_app(build(_settings))
    garbage.settle()
except SettingsError as error:
    raise SystemExit(str(error)) from error
