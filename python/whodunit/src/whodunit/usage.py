"""Every use of the command is itself audited: one JSON line to the journal before anything is read."""

from __future__ import annotations

import getpass
import json
import os
import pwd
import syslog
from collections.abc import Sequence
from pathlib import Path

MAX_BYTES = 4000


def record(arguments: Sequence[str], **facts: object) -> None:
    """The line; the login user survives sudo, so both are in it."""
    line = json.dumps(
        {
            "event": "whodunit_used",
            "user": _name(os.getuid()),
            "login_user": _login(),
            "from": os.environ.get("SSH_CONNECTION", "").partition(" ")[0],
            "arguments": [argument[:500] for argument in arguments],
            **facts,
        },
        ensure_ascii=True,
    )
    syslog.openlog("whodunit", syslog.LOG_PID, syslog.LOG_AUTHPRIV)
    syslog.syslog(syslog.LOG_NOTICE, line[:MAX_BYTES])
    syslog.closelog()


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _login() -> str:
    """From the kernel where it keeps it (set once at login, kept by sudo and su), else from the environment."""
    try:
        uid = int(Path("/proc/self/loginuid").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return getpass.getuser()
    return _name(uid) if uid not in (2**32 - 1, -1) else getpass.getuser()
