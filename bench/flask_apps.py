"""What accepting is held against: the least that Flask does, and that with one write to Redis."""

import os
import uuid

from flask import Flask, Response, jsonify, request
from redis import Redis


def bare() -> Flask:
    """Reads JSON and answers with some."""
    app = Flask("bare")

    @app.post("/messages")
    def accept() -> tuple[Response, int]:
        mail = request.get_json()
        return jsonify(id=uuid.uuid4().hex, status="queued", to=mail["to"]), 202

    return app


def one_set() -> Flask:
    """Writes what it has read with one SET before it answers."""
    app = Flask("one_set")
    redis = Redis.from_url(f"unix://{os.environ['BENCH_SOCKET']}")

    @app.post("/messages")
    def accept() -> tuple[Response, int]:
        mail = request.get_json()
        name = uuid.uuid4().hex
        redis.set(f"mail:{name}", request.get_data())
        return jsonify(id=name, status="queued", to=mail["to"]), 202

    return app
