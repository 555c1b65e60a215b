"""gunicorn reads this file by itself from its working directory. One process: quotas and figures are kept in it."""

import os

bind = os.environ.get("INGEST_BIND", "127.0.0.1:8470")
workers = 1
threads = 8
timeout = 30
keepalive = 75  # longer than nginx keeps a connection, or it would write into one that is being closed
control_socket_disable = True
# In memory, as gunicorn advises for containers.
worker_tmp_dir = "/dev/shm"  # noqa: S108  # nosec B108
