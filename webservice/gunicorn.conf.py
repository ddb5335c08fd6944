"""Settings for those who run gunicorn themselves.

    gunicorn -c gunicorn.conf.py 'eida_stats_webservice.app:create_app()'

Each can be overridden on gunicorn's command line or in GUNICORN_CMD_ARGS.
"""

from eida_stats_webservice.server.gunicorn_config import *  # noqa: F403 - gunicorn reads this module's names
