#!/usr/bin/python3
"""Stands for the application on port 8000: pages with words that nobody may record, an API that echoes."""

import gzip
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BODY = """
<h1>Account of Eve Adams</h1>
<p id="said" title="Eve's mail: eve@example.com">eve@example.com owes 4711 Euro</p>
<label>Card <input id="card" placeholder="Eve's card"></label>
<label>Password <input id="password" type="password"></label>
<a id="reset" href="/reset?token=topsecret">Reset</a>
<button id="delete-17">Delete Eve Adams</button>
<button id="xhr">Old way</button>
<button id="elsewhere">Elsewhere</button>
<button id="error">Break</button>
<button id="reject">Reject</button>
<button id="spa">Go on</button>
<pre id="out"></pre>
"""
SCRIPT = """
const out = document.getElementById('out');
const on = (id, work) => document.getElementById(id).addEventListener('click', work);
on('delete-17', async () => {
  const first = await (await fetch('/api/delete', {method: 'DELETE', headers: {'X-Own': 'kept'}})).json();
  const second = await (await fetch(new Request('/api/list?key=topsecret'))).json();
  out.textContent = JSON.stringify([first, second]);
});
on('xhr', () => {
  const request = new XMLHttpRequest();
  request.open('POST', '/api/xhr');
  request.onload = () => { out.textContent = request.responseText; };
  request.send('body');
});
on('elsewhere', async () => {
  const other = location.origin.replace('tovplay-ingest', 'localhost');
  const answer = await fetch(other + '/api/elsewhere', {mode: 'no-cors'});
  out.textContent = answer.type;
});
on('error', () => { throw new TypeError('broken at https://x/y?token=topsecret for eve@example.com'); });
on('reject', () => { Promise.reject(new RangeError('nobody catches me')); });
on('spa', () => history.pushState({}, '', '/next?token=topsecret'));
window.appReady = true;
"""
# A site that asks first brings the agent's element itself here; pages without </head> get none from nginx.
ASKS = '<script src="/_tovplay/agent.js" data-consent="required" data-replay="1"></script>'


class Pages(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        headers = {"Content-Type": "text/html; charset=utf-8"}
        if path.startswith("/api/"):
            headers["Content-Type"] = "application/json"
            seen = {name.lower(): value for name, value in self.headers.items()}
            text = json.dumps({"method": self.command, "body": len(body), "headers": seen})
        elif path == "/app.js":
            headers["Content-Type"] = "text/javascript"
            text = SCRIPT
        else:
            head = "<head><title>Eve</title></head>" if path != "/asks" else ASKS
            nonce = "r4nd0mN0nce=="
            script = f'<script src="/app.js" nonce="{nonce}"></script>'
            text = f"<!doctype html><html>{head}<body>{BODY}{script}</body></html>"
            policies = {
                "/nonce": f"default-src 'none'; script-src 'nonce-{nonce}'; connect-src 'self'",
                "/self": "default-src 'self'",
                "/closed": "default-src 'none'; script-src 'sha256-x' https://cdn.example",
            }
            if path in policies:
                headers["Content-Security-Policy"] = policies[path]
        content = text.encode()
        if "gzip" in self.headers.get("Accept-Encoding", ""):
            content = gzip.compress(content)
            headers["Content-Encoding"] = "gzip"
        self.send_response(200)
        for name, value in {**headers, "Content-Length": str(len(content)), "X-User-Id": "42"}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_DELETE = answer

    def log_message(self, *_):
        """Quiet."""


ThreadingHTTPServer(("127.0.0.1", 8000), Pages).serve_forever()
