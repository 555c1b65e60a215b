"""TovPlay: find people to play with, and a time to do it."""

from __future__ import annotations

import os
from pathlib import Path

from flask import Flask, current_app, jsonify
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix

from . import auth, config, logging_config
from .models import db
from .routes import blueprints


def create_app(settings: dict | None = None) -> Flask:
    """Build the application from the environment, or from `settings` where a test brings its own."""
    app = Flask(__name__)
    app.config.from_mapping(settings or config.from_environment(os.environ, Path.read_text))
    logging_config.setup(app)
    # One reverse proxy stands in front; only what that one says about the client is believed.
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1)
    db.init_app(app)
    auth.init_app(app)
    for blueprint in blueprints:
        app.register_blueprint(blueprint)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected_error)
    return app


def _http_error(error: HTTPException):
    return jsonify(error=error.name, detail=error.description), error.code


def _unexpected_error(error: Exception):
    current_app.logger.exception("unhandled_error", extra={"error_type": type(error).__name__})
    return jsonify(error="Internal Server Error"), 500
