"""Files of the pages: their style, scripts, font and icon. Their names have the hash of their content."""

import hashlib
from functools import cache
from pathlib import Path

import msgspec

from eida_stats_webservice.reports.html import FONT, make_style

FOLDER = "assets"
_STATIC = Path(__file__).parent / "static"
_HASH_CHARACTERS = 12
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}


class Asset(msgspec.Struct, frozen=True):
    """A file of the page."""

    name: str
    content_type: str
    content: bytes

    @property
    def path(self) -> str:
        """The path, relative to the page."""
        return f"{FOLDER}/{self.name}"


class Assets(msgspec.Struct, frozen=True):
    """All files of the page."""

    style: Asset
    script: Asset
    live_script: Asset
    font: Asset
    icon: Asset

    def find(self, name: str) -> Asset | None:
        """Return the file with a name, or None if there is none."""
        return next((one for one in self._list_all() if one.name == name), None)

    def _list_all(self) -> tuple[Asset, ...]:
        return (self.style, self.script, self.live_script, self.font, self.icon)


@cache
def load_assets() -> Assets:
    """Return the files of the page."""
    font = _make_asset("eida-sans.woff2", FONT.read_bytes())
    # A URL in a style is relative to the style.
    style = f"{make_style(font.name)}\n{(_STATIC / 'dashboard.css').read_text()}"
    return Assets(
        style=_make_asset("dashboard.css", style.encode()),
        script=_make_asset("dashboard.js", (_STATIC / "dashboard.js").read_bytes()),
        live_script=_make_asset("live.js", (_STATIC / "live.js").read_bytes()),
        font=font,
        icon=_make_asset("icon.svg", (_STATIC / "icon.svg").read_bytes()),
    )


def _make_asset(name: str, content: bytes) -> Asset:
    stem, extension = Path(name).stem, Path(name).suffix
    digest = hashlib.sha256(content).hexdigest()[:_HASH_CHARACTERS]
    return Asset(f"{stem}-{digest}{extension}", _TYPES[extension], content)
