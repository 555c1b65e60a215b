"""gunicorn reads this file by itself from its working directory."""

bind = "0.0.0.0:8000"
workers = 2
threads = 4
timeout = 30
control_socket_disable = True
accesslog = "-"
# The path without its query string: what follows the question mark may be private.
access_log_format = '%(h)s "%(m)s %(U)s" %(s)s %(B)s %(M)sms'
