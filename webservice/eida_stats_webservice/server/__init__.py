"""The processes of the service, run by gunicorn."""
