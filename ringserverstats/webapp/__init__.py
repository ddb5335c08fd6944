"""The web application `ringserverstats` for WSGI servers: gunicorn webapp."""

from webapp.webapp import app as application

__all__ = ["application"]
