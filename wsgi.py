"""The WSGI application, for the server that the Procfile and the supervisor start."""

from app import logs
from app.factory import create_app
from app.services import build
from config import Settings, SettingsError

try:
    _settings = Settings.from_env()
    logs.configure(_settings.log_format, _settings.log_level)
    app = create_app(build(_settings))
except SettingsError as error:
    raise SystemExit(str(error)) from error
