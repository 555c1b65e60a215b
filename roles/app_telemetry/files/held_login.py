"""Run inside the application's container: its own login, by its own DATABASE_URL, held while the pooler is asked.

An application without a pool of its own is connected for the moments of a request only.
"""

import os
import re
import time

try:
    import psycopg as driver
except ImportError:
    import psycopg2 as driver

# SQLAlchemy names the driver in the scheme; libpq knows no such thing.
connection = driver.connect(re.sub(r"\A(\w+)\+\w+:", r"\1:", os.environ["DATABASE_URL"]), connect_timeout=5)
time.sleep(15)
connection.close()
