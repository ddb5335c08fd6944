"""The web application `ringserverstats`: takes transfer logs of ringservers at `/`, into a node's own database."""

import os

from eida_stats_webservice import config
from eida_stats_webservice.raw_log_app import create_app

# Programs on this machine need no token, unless the environment says otherwise.
app = create_app(config.read({"RAW_LOGS": "loopback", **os.environ}))
