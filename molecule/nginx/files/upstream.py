#!/usr/bin/python3
"""Stands for the application on port 8000 and for Loki on port 3100: tells what reached it."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        query = parse_qs(urlsplit(self.path).query)
        if "close" in query:
            self.close_connection = True
            return
        if self.headers.get("Upgrade") == "websocket":
            self.switch_protocols()
            return
        time.sleep(float(query.get("sleep", ["0"])[0]))
        seen = {"port": self.server.server_port, "method": self.command, "path": self.path, "body": len(body)}
        text = json.dumps(seen | {"headers": [[k.lower(), v] for k, v in self.headers.items()]}).encode()
        self.send_response(int(query.get("status", ["200"])[0]))
        self.send_header("Content-Length", str(len(text)))
        self.send_header("X-Correlation-ID", "from-upstream")
        if self.headers.get("X-Test-User"):
            self.send_header("X-User-Id", self.headers["X-Test-User"])
        self.end_headers()
        self.wfile.write(text)

    def switch_protocols(self):
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.end_headers()
        self.wfile.write(b"tailed")
        self.close_connection = True

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = answer

    def log_message(self, *_):
        pass


for port in (8000, 3100):
    server = ThreadingHTTPServer(("127.0.0.1", port), Echo)
    threading.Thread(target=server.serve_forever).start()
