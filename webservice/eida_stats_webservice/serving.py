"""gunicorn's settings, for `eida_statsman serve` and webservice/gunicorn.conf.py alike."""

bind = "127.0.0.1:8000"
worker_class = "gthread"
workers = 2
threads = 4
# A payload of 100,000 rows takes some seconds to merge; a worker that hangs for longer is replaced.
timeout = 120
control_socket_disable = True
accesslog = "-"
# Without the address of who asks, which nobody needs and which is personal.
access_log_format = '%(t)s "%(r)s" %(s)s %(B)s bytes %(M)s ms "%(a)s"'
