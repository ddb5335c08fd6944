"""The bytes of crawls that are sent."""

import gzip
import random

from eida_statistics.archive.lines import escape

ROOT = "/GFZ/archive"


def make_crawl(
    *lines: tuple[str, str, str], root: str = ROOT, started: str = "2026-11-22T02:00:00Z", noise_bytes: int = 0
) -> bytes:
    """Return the file of a crawl.

    Args:
        lines: path, type and JSON of each line between the first and the last.
        root: the path that the first and the last line have.
        started: when the node began it.
        noise_bytes: the size of lines that gzip can hardly compress.
    """
    noise = random.Random(1)
    rows = [
        (root, "crawl", f'{{"started":"{started}","root":"/data","version":"1.0.0"}}'),
        *lines,
        *(
            (f"{root}/{number}", "x", f'{{"x":"{noise.randbytes(500).hex()}"}}')
            for number in range(noise_bytes // 1000)
        ),
        (root, "crawl", '{"finished":"2026-11-30T03:00:00Z","counts":{},"unreadable":[],"errors":0}'),
    ]
    text = "".join("\t".join(map(escape, row)) + "\n" for row in rows)
    return gzip.compress(text.encode(), 1, mtime=0)
