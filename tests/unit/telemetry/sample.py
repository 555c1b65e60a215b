"""An application that knows nothing of telemetry: it logs, and it asks its database with the driver it is told to."""

from __future__ import annotations

import logging
import os
import sys

from flask import Flask, g, jsonify, request
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

app = Flask(__name__)
handler = logging.StreamHandler(sys.stdout)
handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
app.logger.handlers[:] = [handler]
app.logger.propagate = False
app.logger.setLevel("INFO")
engine = create_engine(os.environ["DATABASE"], poolclass=NullPool) if "DATABASE" in os.environ else None


@app.before_request
def who() -> None:
    if "X-Login" in request.headers:
        g.user_id = int(request.headers["X-Login"])
        g.user_email = f"user{g.user_id}@tovtech.org"


@app.get("/ready")
def ready() -> str:
    return "ready"


@app.get("/echo/<int:number>")
def echo(number: int):
    app.logger.info("one of %s", number, extra={"action": "ECHO", "number": number})
    app.logger.info("two of %s", number, extra={"target_user": request.args.get("target")})
    return jsonify(number=number)


@app.post("/say")
def say():
    app.logger.info(request.get_data(as_text=True), extra={"form": dict(request.args)})
    return "", 204


@app.post("/things/<name>")
def make(name: str):
    with engine.begin() as connection:
        connection.execute(text("SELECT count(*) FROM thing")).scalar()
        app.logger.info("making", extra={"action": "MAKE"})
        found = connection.execute(
            text("INSERT INTO thing (name) VALUES (:name) RETURNING id, witness, tag"), {"name": name}
        ).one()
    return jsonify(id=found.id, witness=found.witness, tag=found.tag)


@app.get("/broken")
def broken():
    raise RuntimeError("no good")


@app.get("/stream")
def stream():
    def pieces():
        yield b"first"
        app.logger.info("in the stream")
        yield b"second"

    return app.response_class(pieces())
