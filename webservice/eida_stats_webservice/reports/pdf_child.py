"""Turn HTML into PDF. This is a program of its own, since only it imports WeasyPrint.

    python -m eida_stats_webservice.reports.pdf_child SECONDS

Standard input is a line with a time, in seconds since 1970, and the HTML; standard output is the PDF. The embedded
fonts have that time instead of the present one, so the same input makes the same bytes. Loading WeasyPrint may take
SECONDS, and so may the PDF. Then the program ends, even if its parent has ended.
"""

import gc
import os
import signal
import sys

UNAVAILABLE = 69
"""The exit code if WeasyPrint or a library of the system is missing: EX_UNAVAILABLE of sysexits.h."""


def main() -> int:
    """Write the PDF, and return the exit code."""
    seconds = int(sys.argv[1])
    signal.alarm(seconds)
    # The process ends soon, so collecting garbage would only take time.
    gc.disable()
    # WeasyPrint prints advice to standard output if a library is missing.
    output, sys.stdout = sys.stdout, sys.stderr
    try:
        import weasyprint  # noqa: PLC0415 - it may be missing
    except (ImportError, OSError) as error:
        print(error, file=sys.stderr)
        return UNAVAILABLE
    # The parent may still make the report.
    signal.alarm(0)
    moment, html = sys.stdin.buffer.readline(), sys.stdin.buffer.read()
    signal.alarm(seconds)
    if not html:
        return 0  # the parent needs no PDF after all
    os.environ["SOURCE_DATE_EPOCH"] = str(int(moment))
    # The font is in the HTML. Nothing is fetched from a network or read from a file.
    fetcher = weasyprint.URLFetcher(allowed_protocols={"data"})
    document = weasyprint.HTML(string=html.decode(), url_fetcher=fetcher)
    output.buffer.write(document.write_pdf(pdf_tags=True))
    output.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
