"""Style sheets, scripts and the icon, under addresses that change with their content."""

import hashlib
from pathlib import Path

from flask import Flask, Response, abort, request, url_for
from flask.typing import ResponseReturnValue

from app.api.auth import open_route

_FOLDER = Path(__file__).with_name("static")
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def register(app: Flask) -> None:
    """Serves the files at `/assets/`, and gives templates `asset(name)`, the address of one."""
    files = {
        path.relative_to(_FOLDER).as_posix(): path.read_bytes()
        for path in _FOLDER.rglob("*")
        if path.suffix in _TYPES
    }
    hashes = {name: hashlib.sha256(content).hexdigest()[:12] for name, content in files.items()}

    @open_route
    def asset(name: str) -> ResponseReturnValue:
        if name not in files:
            abort(404, "There is no such file.")
        response = Response(files[name], content_type=_TYPES[Path(name).suffix])
        response.set_etag(hashes[name])
        fresh = request.args.get("v") == hashes[name]
        response.headers["Cache-Control"] = (
            "public, max-age=31536000, immutable" if fresh else "no-cache"
        )
        return response.make_conditional(request)

    def address(name: str) -> str:
        return url_for("asset", name=name, v=hashes[name])

    app.add_url_rule("/assets/<path:name>", "asset", asset)
    app.add_template_global(address, "asset")
