"""What is broken around the application must not be felt in it, and what is lost must be counted."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

LOGGING = "import logging, os, sys\nlogging.basicConfig(stream=sys.stdout, level='INFO')\n"

# An application whose standard output nobody reads; it reports on standard error.
STUCK = """
import json, logging, sys, time
from tovplay_telemetry import counts
logging.basicConfig(stream=sys.stdout, level="INFO")
started = time.monotonic()
for number in range(2000):
    logging.info("x" * 500)
sys.stderr.write(json.dumps({"seconds": time.monotonic() - started, **counts()}) + "\\n")
sys.stderr.flush()
sys.stdin.readline()
"""

# A request after another while the collector is gone, or takes connections and never answers.
SERVE = """
import json, time
from flask import Flask
from tovplay_telemetry import counts
app = Flask(__name__)
@app.get("/")
def view(): return "ok"
def ask():
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "SERVER_NAME": "x", "SERVER_PORT": "80"}
    environ |= {"wsgi.url_scheme": "http", "wsgi.errors": None, "REMOTE_ADDR": "127.0.0.1"}
    body = app(environ, lambda *_: None)
    list(body); body.close()
ask()
slowest, started = 0, time.monotonic()
for number in range(3000):
    before = time.thread_time(); ask(); slowest = max(slowest, time.thread_time() - before)
seconds = time.monotonic() - started
while time.monotonic() - started < 7: time.sleep(0.1)
import logging; logging.getLogger("tovplay_telemetry").disabled = True
print(json.dumps({"case": "result", "seconds": seconds, "slowest": slowest, **counts()}))
"""


def test_a_reader_that_is_stuck_blocks_nobody_and_loses_no_line_that_fits(environment):
    process = subprocess.Popen(
        [sys.executable, "-c", STUCK],
        env=environment | {"TOVPLAY_LOG_BUFFER": "200000"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    report = json.loads(process.stderr.readline())
    assert report["seconds"] < 10 and report["log_records_dropped"] > 500
    process.stdin.write("\n")
    process.stdin.flush()
    lines = [json.loads(line) for line in process.stdout]
    assert len(lines) == 2000 - report["log_records_dropped"]  # each of them whole, and none lost that was not counted
    assert process.wait(30) == 0


def test_lines_survive_a_kill(environment):
    script = LOGGING + "logging.info('last words')\nos.kill(os.getpid(), 9)\n"
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == -9 and json.loads(done.stdout)["message"] == "last words"


@pytest.mark.parametrize("collector", ["down", "mute"])
def test_without_a_collector_the_application_serves_on_and_spans_are_counted(run, collector):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if collector == "mute":
            listener.listen(5)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        lines = run(SERVE, OTEL_EXPORTER_OTLP_ENDPOINT=url, TOVPLAY_LOG_REQUESTS="off", OTEL_BSP_MAX_QUEUE_SIZE="1000")
    (report,) = (line for line in lines if line.get("case") == "result")
    assert report["slowest"] < 0.5, report
    assert report.get("spans_sent", 0) == 0 and report["spans_dropped"] >= 3001 - 1000 - 512, report
    assert not [name for name in report if name.startswith("faults")], report


def test_a_fork_serves_and_sends_as_its_parent_did(run, receiver):
    """As gunicorn does with --preload, and uwsgi: the application has served, logged and traced before the fork."""
    script = SERVE.split("slowest,")[0] + "import os\npid = os.fork()\nask()\nif pid: os.waitpid(pid, 0)\n"
    lines = run(script, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url)
    spans = receiver.wait(lambda found: len(found) >= 3)
    assert len(spans) == 3 and len({span["traceId"] for span in spans}) == 3
    assert len({resource["process.pid"] for resource in receiver.resources}) == 2
    assert len([line for line in lines if line["message"] == "response"]) == 3


def test_a_fork_in_the_middle_of_logging_does_not_deadlock(environment):
    script = (
        f"{LOGGING}import threading\nstop = False\n"
        "def chatter():\n    while not stop: logging.info('x')\n"
        "threads = [threading.Thread(target=chatter) for _ in range(2)]\n[thread.start() for thread in threads]\n"
        "for _ in range(20):\n    pid = os.fork()\n"
        "    if not pid:\n        logging.info('child'); os._exit(0)\n    os.waitpid(pid, 0)\n"
        "stop = True\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0 and done.stdout.count('"child"') == 20
    for line in done.stdout.splitlines():
        json.loads(line)


def test_switched_off_nothing_of_ours_is_there(environment):
    script = LOGGING + "logging.info('plain')\nassert 'tovplay_telemetry' not in sys.modules\n"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment | {"TOVPLAY_TELEMETRY": "off"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "INFO:root:plain\n"


def test_the_applications_own_sitecustomize_runs_and_its_packages_win(environment, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import builtins\nbuiltins.own_sitecustomize = True\n")
    (tmp_path / "wrapt.py").write_text("raise ImportError('a package of the name, and another')\n")
    script = "import sys; assert own_sitecustomize; print('application runs')"
    path = f"{environment['PYTHONPATH']}{os.pathsep}{tmp_path}"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "application runs\n"
    assert json.loads(done.stderr)["message"] == "telemetry is off"


def test_installed_among_other_packages_it_does_nothing(environment, mounted):
    script = f"import sys; sys.path.insert(0, {str(mounted)!r}); import sitecustomize\n"
    script += "assert 'tovplay_telemetry.activation' not in sys.modules\n"
    variables = {name: value for name, value in environment.items() if name != "PYTHONPATH"}
    subprocess.run([sys.executable, "-c", script], env=variables, check=True)


def test_counters_of_many_threads_add_up():
    from tovplay_telemetry import counters

    threads = [threading.Thread(target=lambda: [counters.count("t") for _ in range(1000)]) for _ in range(8)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counters.counts()["t"] == 8000 and time.monotonic() - started < 30
