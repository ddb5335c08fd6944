"""The causes of failed connections, without the internals of the HTTP library."""

import errno
import re
import socket

import requests
from urllib3.exceptions import HTTPError, MaxRetryError, NameResolutionError, ReadTimeoutError, SSLError

_DAMAGED: dict[type[requests.RequestException], str] = {
    requests.exceptions.ChunkedEncodingError: "the answer broke off",
    requests.exceptions.ContentDecodingError: "the answer cannot be decompressed",
}


def describe_cause(error: requests.RequestException, url: str) -> tuple[str, str]:
    """Return the cause of a failed request and a hint."""
    chain = _collect_causes(error)
    if isinstance(error, requests.exceptions.SSLError) or any(isinstance(cause, SSLError) for cause in chain):
        return _describe_tls_cause(" ".join(map(str, chain)))
    if isinstance(error, requests.Timeout) or any(isinstance(cause, ReadTimeoutError) for cause in chain):
        return "no answer in time", ""
    if any(isinstance(cause, NameResolutionError | socket.gaierror) for cause in chain):
        return "the name of the host cannot be resolved", "Check the spelling of the URL, and the name server."
    if any(isinstance(cause, OSError) and cause.errno == errno.ECONNREFUSED for cause in chain):
        return "connection refused", "Check the port, and that the service is running."
    if not isinstance(error, requests.ConnectionError):
        return _DAMAGED.get(type(error), type(error).__name__), ""
    hint = "If the server speaks TLS on this port, use https://." if url.startswith("http://") else ""
    return "no connection", hint


def _describe_tls_cause(text: str) -> tuple[str, str]:
    untrusted = re.search(r"certificate verify failed: ([^(\['\"]+)", text)
    if untrusted is None:
        return "the server does not speak TLS on this port", "Use http://, if that is right for this server."
    hint = "If your network has a certificate authority of its own, name its file in REQUESTS_CA_BUNDLE."
    return f"the server's certificate is not trusted ({untrusted[1].strip()})", hint


def _collect_causes(error: BaseException) -> list[BaseException]:
    """Return an exception and all that it was raised for."""
    found: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        one = waiting.pop()
        if isinstance(one, BaseException) and one not in found:
            found.append(one)
            waiting += [one.__cause__, one.__context__, *one.args]
            if isinstance(one, MaxRetryError):
                waiting.append(one.reason)
            elif isinstance(one, HTTPError):
                waiting.append(getattr(one, "original_error", None))
    return found
