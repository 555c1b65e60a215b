"""The measured request: three log records and one transaction of three statements; `run` starts one process a variant.

Each line on standard input is a number of requests to serve; the answer, on a descriptor of its own, a line of JSON.
"""

from __future__ import annotations

import io
import json
import logging
import os
import resource
import sys
import time

import psycopg2
from flask import Flask, g

VARIANT, DSN, ANSWERS = sys.argv[1:]
app = Flask(__name__)
handler = logging.StreamHandler(sys.stdout)
app.logger.handlers[:] = [handler]
app.logger.propagate = False
app.logger.setLevel("INFO")

if VARIANT == "others":
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.flask import FlaskInstrumentor
    from opentelemetry.instrumentation.psycopg2 import Psycopg2Instrumentor
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from pythonjsonlogger.json import JsonFormatter

    handler.setFormatter(JsonFormatter("{asctime}{levelname}{name}{message}", style="{"))
    trace.set_tracer_provider(TracerProvider())
    trace.get_tracer_provider().add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    FlaskInstrumentor().instrument_app(app)
    Psycopg2Instrumentor().instrument()

connection = psycopg2.connect(DSN)


@app.before_request
def who() -> None:
    g.user_id = 42


@app.post("/things/<int:number>")
def make(number: int):
    app.logger.info("making %s", number, extra={"action": "MAKE", "target_type": "Thing"})
    cursor = connection.cursor()
    cursor.execute("SELECT count(*) FROM thing WHERE id = %s", (number,))
    app.logger.info("counted", extra={"found": cursor.fetchone()[0]})
    cursor.execute("INSERT INTO thing (id) VALUES (%s) ON CONFLICT DO NOTHING", (number,))
    cursor.execute("DELETE FROM thing WHERE id = %s", (number,))
    connection.commit()
    app.logger.info("made", extra={"action": "MADE", "records_deleted": 1})
    return {"made": number}


def serve(number: int) -> None:
    environ = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": f"/things/{number}",
        "QUERY_STRING": "",
        "SERVER_NAME": "bench",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "bench",
        "HTTP_USER_AGENT": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        "HTTP_X_CORRELATION_ID": f"{number:032x}",
        "HTTP_TRACEPARENT": f"00-{number + 1:032x}-{number + 1:016x}-01",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    body = app(environ, lambda status, headers, exc_info=None: None)
    for _ in body:
        pass
    body.close()


def cpu() -> float:
    """Seconds of this process's user time, every thread of it (the one that sends spans, too)."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


with os.fdopen(int(ANSWERS), "w") as answers:
    for line in sys.stdin:
        requests = int(line)
        walls = []
        before = cpu()
        for number in range(requests):
            started = time.perf_counter()
            serve(number)
            walls.append(time.perf_counter() - started)
        if VARIANT in ("others", "traces"):
            time.sleep(0.5)  # the last batch of spans is sent meanwhile (OTEL_BSP_SCHEDULE_DELAY), and costs, too
        walls.sort()
        answers.write(
            json.dumps({"cpu_ms": (cpu() - before) / requests * 1000, "wall_ms": walls[len(walls) // 2] * 1000}) + "\n"
        )
        answers.flush()
