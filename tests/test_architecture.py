"""The rooms of the house: who may import whom, and what stands in one place only."""

import ast
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

from app.core import queue

ROOT = Path(__file__).parent.parent
OURS = ("config", "wsgi", "app", "providers", "workers", "simulator")
ALLOWED = {
    "config": set(),
    "providers": {"providers"},
    "simulator": {"simulator", "config"},
    "app.core": {"app.core", "providers"},
    "app.services": {"app.core", "providers", "config"},
    "app.api": {
        *("app.api", "app.core", "app.services", "app.version"),
        *("providers.types", "providers.webhooks"),
    },
    "app.web": {
        *("app.web", "app.api", "app.core", "app.services", "app.version", "providers.types"),
        "config",
    },
    "workers": {"workers", "app.core", "app.services", "app.logs", "app.garbage", "config"},
}
"""What the modules of a room may import of ours; rooms that are not named here may import all."""


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


def modules() -> Iterator[tuple[str, Path]]:
    for top in OURS:
        path = ROOT / top
        files = sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
        for file in files:
            parts = file.relative_to(ROOT).with_suffix("").parts
            yield ".".join(p for p in parts if p != "__init__"), file


MODULES = dict(modules())


def within(name: str, room: str) -> bool:
    return name == room or name.startswith(room + ".")


@cache
def imports(file: Path) -> list[str]:
    """Every module that a file imports, inside functions as well."""
    found = []
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute"
            found += [str(node.module), *(f"{node.module}.{a.name}" for a in node.names)]
    return found


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_one_way(name):
    rooms = [allowed for room, allowed in ALLOWED.items() if within(name, room)]
    for imported in imports(MODULES[name]):
        if any(within(imported, top) for top in OURS) and rooms and imported not in ("app",):
            assert any(within(imported, room) for room in rooms[0]), f"{name} imports {imported}"


@pytest.mark.parametrize(
    ("library", "rooms"),
    [
        ("flask", ("app.api", "app.web", "app.factory", "app.cli")),
        ("rq", ("app.core.queue", "workers")),
        ("fakeredis", ()),
        ("requests", ("providers",)),
        ("botocore", ("providers",)),
    ],
)
def test_a_library_is_used_in_its_rooms_only(library, rooms):
    users = {n for n, file in MODULES.items() if any(within(i, library) for i in imports(file))}
    assert not {name for name in users if not any(within(name, room) for room in rooms)}


def test_the_environment_is_read_in_one_place():
    readers = {name for name, file in MODULES.items() if "environ" in attributes(file)}
    assert readers <= {"config", "app.supervisor"}


@cache
def attributes(file: Path) -> set[str]:
    nodes = ast.walk(parsed(file))
    return {n.attr for n in nodes if isinstance(n, ast.Attribute) and ast.unparse(n.value) == "os"}


def test_every_redis_key_is_named_in_one_place():
    def literals(file: Path) -> Iterator[str]:
        for node in ast.walk(parsed(file)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value

    for name, file in MODULES.items():
        if name != "app.core.keys":
            found = [text for text in literals(file) if text.startswith(("sp:", "rq:"))]
            assert not found, f"{name} names {found}"


def test_the_scripts_name_no_key_themselves():
    for script in (ROOT / "app/core/scripts").glob("*.lua"):
        code = "".join(line.split("--")[0] for line in script.read_text().splitlines(True))
        assert "'sp:" not in code, script
        assert "'rq:" not in code, script


def test_every_job_name_resolves():
    module, _, name = queue.DELIVER_JOB.rpartition(".")
    assert callable(getattr(import_module(module), name))


@pytest.mark.parametrize("name", MODULES)
def test_a_module_says_in_its_first_line_what_it_is(name):
    text = ast.get_docstring(ast.parse(MODULES[name].read_text()))
    assert text, name
    assert text.split("\n\n")[0].rstrip().endswith((".", ":")), name


@pytest.mark.parametrize("name", MODULES)
def test_no_module_has_a_name_that_says_nothing(name):
    assert name.rpartition(".")[2] not in {"utils", "helpers", "common", "manager", "misc"}
