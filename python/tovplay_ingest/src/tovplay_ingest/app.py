"""The service: intake for browsers, playback for people, figures for Prometheus."""

from __future__ import annotations

from flask import Flask, Response
from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest

from .config import Settings, from_environment
from .events import EventLog
from .intake import REPLAY_BYTES_A_PART, intake
from .logs import Logs
from .playback import playback
from .store import ReplayStore

STORED = Gauge("tovplay_ingest_replay_stored_bytes", "Bytes of recordings on disk")


def create_app(settings: Settings | None = None) -> Flask:
    """Build the service from the environment, or from `settings` where a test brings its own."""
    settings = settings or from_environment()
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = REPLAY_BYTES_A_PART
    log = EventLog(settings.events_file, settings.events_file_bytes, settings.events_files_kept)
    store = ReplayStore(settings.replay_folder, settings.replay_total_bytes, settings.replay_session_bytes)
    app.register_blueprint(intake(settings, log, store))
    app.register_blueprint(playback(settings, store, Logs(settings.loki_url, settings.loki_hours)))
    STORED.set_function(store.size)

    @app.get("/healthz")
    def healthz() -> Response:
        return Response("ok\n", mimetype="text/plain")

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(), content_type=CONTENT_TYPE_LATEST)

    @app.after_request
    def never_guess(answer: Response) -> Response:
        answer.headers["X-Content-Type-Options"] = "nosniff"
        answer.headers["Referrer-Policy"] = "no-referrer"
        return answer

    return app
