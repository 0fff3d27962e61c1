"""One request over HTTPS: where it may lead, and whether another attempt could go better."""

import http.client
import ssl
import urllib.error
import urllib.request
from email.message import Message
from typing import IO
from urllib.parse import urlsplit

from cxr import __version__
from cxr.errors import CxrError

STALL_SECONDS = 60.0
"""Without a byte for so long, a connection counts as cut."""
RESUME = "the same command continues where this one stopped"

_CHUNK = 1 << 20
_MAX_WAIT = 300.0  # seconds that a server may ask for
_LOCAL = ("localhost", "127.0.0.1", "::1")
_BUSY = (408, 425, 429, 500, 502, 503, 504)  # answers that may be others in a minute


class TryAgainError(Exception):
    """A connection that brought less than the whole; `wait`: seconds that the server asks to wait."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        self.reason, self.wait = reason, wait
        super().__init__(reason)


def open_url(url: str, start: int, tag: str) -> http.client.HTTPResponse:
    """The answer to a request for the bytes from `start` on, of all bytes where `tag` is another version."""
    _check_address(url, url)
    # identity: a compressed answer would have other sizes and places
    headers = {"User-Agent": f"cxr/{__version__}", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if tag:
            # the server sends all of it where the file has changed since
            headers["If-Range"] = tag
    opener = urllib.request.build_opener(_SafeRedirects(url))
    try:
        response: http.client.HTTPResponse = opener.open(
            urllib.request.Request(url, headers=headers), timeout=STALL_SECONDS
        )
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416 and start:
                return open_url(url, 0, "")  # nothing is left from there on: the file may have changed
            if error.code in _BUSY:
                raise TryAgainError(f"the server answers {error.code}", _asked_wait(error.headers)) from None
            raise not_the_file(url, f"answers {error.code} ({error.reason})") from None
    except (OSError, http.client.HTTPException) as error:
        raise _explain(url, error) from None
    return response


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to https only; from this machine also to this machine, as tests do."""

    def __init__(self, url: str) -> None:
        self.asked = url

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        """The request to follow with, which has the headers of the first."""
        try:
            _check_address(newurl, self.asked)
        except CxrError:
            fp.close()
            raise
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def _check_address(url: str, asked: str) -> None:
    parts = urlsplit(url)
    is_local = parts.hostname in _LOCAL and urlsplit(asked).hostname in _LOCAL
    if parts.scheme != "https" and not (parts.scheme == "http" and is_local):
        hint = "the address has changed; do not trust it"
        raise CxrError(f"{asked}: leads to {url}, which is not https", hint)


def read_chunk(response: http.client.HTTPResponse) -> bytes:
    """The next bytes of an answer, none at its end.

    Raises:
        TryAgainError: The connection was cut, or brings nothing for STALL_SECONDS.
    """
    try:
        return response.read(_CHUNK)
    except http.client.IncompleteRead as error:
        return error.partial
    except (OSError, http.client.HTTPException) as error:
        raise TryAgainError(f"the connection was cut ({_reason(error)})") from None


def not_the_file(url: str, problem: str = "answers with a web page instead of the file") -> CxrError:
    """The error for an answer that another attempt would not change."""
    hint = "open the address in a browser: a login, a changed address or a busy server stands in between; "
    return CxrError(f"{url}: {problem}", hint + RESUME)


def _explain(url: str, error: Exception) -> Exception:
    """What to raise where no answer came."""
    cause = getattr(error, "reason", error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        hint = "check this machine's clock, its certificates and its proxy; nothing was downloaded"
        return CxrError(f"{url}: its certificate is not valid: {cause.verify_message}", hint)
    return TryAgainError(f"no connection ({_reason(cause)})")


def _reason(error: object) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _asked_wait(headers: Message) -> float:
    """The seconds of a Retry-After, within limits; 0 where it names a date or nothing."""
    text = str(headers.get("Retry-After", ""))
    # no server may keep the command waiting for hours
    return min(float(text), _MAX_WAIT) if text.isdecimal() else 0.0


def version_tag(headers: Message) -> str:
    """What tells versions of a file apart: a strong ETag, else Last-Modified; empty without either."""
    tag = str(headers.get("ETag", ""))
    # a weak ETag (W/"...") does not promise the same bytes
    return tag if tag.startswith('"') else str(headers.get("Last-Modified", ""))
