"""nginx in front of the service, with the documented configuration."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.paths import ROOT
from support.service import Service

FOLDER = ROOT / "webservice" / "nginx"
UNPACKED = ROOT / ".venv" / "nginx" / "usr" / "sbin" / "nginx"


@contextmanager
def run_nginx(service: Service, directory: Path) -> Iterator[int]:
    """Run nginx in front of the service and yield its port."""
    binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin") or str(UNPACKED)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    location, cache = directory / "location.conf", directory / "cache.conf"
    upstream = service.url.removeprefix("http://").partition("/")[0]
    location.write_text((FOLDER / "eida-statistics.conf").read_text().replace("127.0.0.1:8000", upstream))
    cache.write_text(
        (FOLDER / "eida-statistics-cache.conf").read_text().replace("/var/cache/nginx", str(directory))
    )
    temporary = "".join(
        f"{name}_temp_path {directory}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = directory / "nginx.conf"
    main.write_text(
        # Otherwise its processes cannot write into this user's directory.
        ("user root; " if os.geteuid() == 0 else "")
        + f"daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log {directory}/error.log;\n"
        "events { worker_connections 2048; }\n"
        # The default directory for logs may be missing.
        f"http {{ {temporary} access_log {directory}/access.log; include {cache};\n"
        f"server {{ listen 127.0.0.1:{port}; include {location}; }} }}\n"
    )
    process = subprocess.Popen([binary, "-p", str(directory), "-c", str(main), "-e", f"{directory}/error.log"])
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()
