"""The command line: `python -m app.cli run`."""

import argparse
import sys
from collections.abc import Sequence

from app import logs
from app.embedded_store import EmbeddedStoreError
from app.run import run
from app.supervisor import StartError
from config import Settings, SettingsError


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the arguments say; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m app.cli", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="run everything on this machine until Ctrl-C")
    parser.parse_args(arguments)
    try:
        settings = Settings.from_env()
        logs.configure(settings.log_format, settings.log_level)
        run(settings)
    except (SettingsError, EmbeddedStoreError, StartError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        # It came before there was anything to stop.
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
