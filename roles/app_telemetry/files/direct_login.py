"""Run inside the application's container: its own login, past the pooler. Says `open`, or what PostgreSQL answered."""

import os
import sys
from urllib.parse import unquote, urlsplit

try:
    import psycopg as driver
except ImportError:
    import psycopg2 as driver

url = urlsplit(os.environ["DATABASE_URL"])
host, _, port = sys.argv[1].rpartition(":")
try:
    driver.connect(
        host=host,
        port=port,
        user=unquote(url.username),
        password=unquote(url.password),
        dbname=unquote(url.path[1:]),
        connect_timeout=5,
    ).close()
except driver.OperationalError as error:
    print(str(error).strip())
else:
    print("open")
