"""Makes .venv and installs locked requirements into it, unless that has been done.

    python3 install.py requirements.txt

`make` calls it before everything else. It stands alone: nothing is installed yet when it runs.
"""

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
STORE = "requirements-store.txt"
# Everything of the first is in the second, in the same version.
PARTS = {
    "requirements.txt": ["requirements.txt"],
    "requirements-dev.txt": ["requirements.txt", "requirements-dev.txt"],
    "requirements-bench.txt": ["requirements.txt", "requirements-bench.txt"],
}


class InstallError(Exception):
    """What went wrong and what to do, in one line."""


def install(lock_file: str) -> None:
    """Bring .venv up to date with a lock file. Raises `InstallError`."""
    # Two calls at once, say of `make run` and `make test`, wait for each other.
    directory = os.open(ROOT, os.O_RDONLY)
    fcntl.flock(directory, fcntl.LOCK_EX)
    version = _venv_version()
    if version is None:
        _make_venv()
        version = _venv_version()
    todo = [part for part in PARTS[lock_file] if not _is_installed(part, version)]
    if todo:
        print(f"Installing {lock_file} into .venv: a minute, this once.", flush=True)  # noqa: T201
        if not _pip_install(lock_file):
            raise InstallError("the installation failed; see above, and run make again")
        for part in todo:
            _mark_installed(part, version)
    if not _is_installed(STORE, version):
        fits = _pip_install(STORE, "--only-binary=:all:", quiet=True)
        if fits or shutil.which("valkey-server") or shutil.which("redis-server"):
            _mark_installed(STORE, version)


def _venv_version() -> str | None:
    """The Python of .venv; None where there is none that works."""
    try:
        told = _call(VENV / "bin" / "python", "-c", "import pip, sys; print(sys.version)")
    except OSError:
        return None
    return told.stdout if told.returncode == 0 else None


def _make_venv() -> None:
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        raise InstallError(
            "this Python cannot make virtual environments; on Debian or Ubuntu:"
            f" apt install python{sys.version_info[0]}.{sys.version_info[1]}-venv"
        )
    made = _call(sys.executable, "-m", "venv", "--clear", VENV)
    if made.returncode != 0:
        said = (made.stderr or made.stdout).strip().splitlines() or ["no reason given"]
        raise InstallError(f"cannot make {VENV}: {said[-1]}; mend that and run make again")


def _pip_install(lock_file: str, *options: str, quiet: bool = False) -> bool:
    words: list[str | Path] = [
        *(VENV / "bin" / "python", "-m", "pip", "install", "--quiet", "--quiet"),
        *("--disable-pip-version-check", "--no-deps", "--require-hashes", *options),
        *("--requirement", ROOT / lock_file),
    ]
    return _call(*words, capture=quiet).returncode == 0


def _call(*words: str | Path, capture: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=capture, text=True)  # noqa: S603 - our own words


def _is_installed(lock_file: str, version: str | None) -> bool:
    try:
        return _stamp(lock_file).read_text() == _digest(lock_file, version)
    except OSError:
        return False


def _mark_installed(lock_file: str, version: str | None) -> None:
    _stamp(lock_file).write_text(_digest(lock_file, version))


def _stamp(lock_file: str) -> Path:
    return VENV / f"installed-{lock_file}"


def _digest(lock_file: str, version: str | None) -> str:
    return hashlib.sha256(f"{version}\n".encode() + (ROOT / lock_file).read_bytes()).hexdigest()


if __name__ == "__main__":
    try:
        install(sys.argv[1])
    except InstallError as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(f"cannot use {error.filename or VENV}: {error.strerror}; see to its permissions")
