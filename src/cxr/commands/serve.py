"""cxr serve: a page and endpoints for a model, on this machine unless told otherwise."""

import ipaddress
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cxr.console import count, say
from cxr.errors import CxrError
from cxr.streams import show
from cxr.text import DISCLAIMER

TOKEN_VARIABLE = "CXR_TOKEN"
_MIN_LETTERS = 16
_MAX_TOKEN_BYTES = 4096


@dataclass(frozen=True)
class Address:
    """Where the server listens, and who may come.

    Attributes:
        host: A name or address of this machine.
        port: 0 takes any free one.
        is_exposed: Whether the user agrees that other machines reach it.
        token_file: Holds the token; None looks into CXR_TOKEN.
        names: Further host names that it may be called by.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    is_exposed: bool = False
    token_file: Path | None = None
    names: Sequence[str] = ()

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


@dataclass(frozen=True)
class Bounds:
    """What a request may take: bytes of an upload, and seconds."""

    max_megabytes: int = 64
    seconds: float = 60.0


def serve(
    run: str,
    address: Address,
    bounds: Bounds,
    calibrated: bool = False,
    head_findings: str | None = None,
    device_name: str = "auto",
    open_page: Callable[[str], object] | None = None,
) -> None:
    """Serve a model until a signal.

    Args:
        run: Run folder, checkpoint, `xrv:NAME`, or a file of weights.
        address: Where it listens, and who may ask.
        bounds: Of one request.
        calibrated: Whether probabilities and operating points are calibrated.
        head_findings: The findings of the outputs of a file of weights.
        device_name: As the key `device`.
        open_page: Called with the address when the page can be opened.

    Raises:
        CxrError: No such model, no token for other machines, a port in use, a package that is missing.
    """
    # 1. what can be refused at once, before a model is loaded
    token = read_token(address)
    if not address.is_local and not (address.is_exposed and token):
        problem = f"--host {address.host}: other machines could send images to this server"
        hint = "add --expose and --token-file FILE to allow it, or leave --host out"
        raise CxrError(problem, hint)
    _check_installed()
    from cxr.deploy.open_runtime import open_runtime
    from cxr.deploy.serve.app import Server
    from cxr.deploy.serve.guard import Access
    from cxr.deploy.serve.limits import Limits
    from cxr.deploy.serve.model import describe_model
    from cxr.deploy.serve.server import address_of, listen, prepare

    listening = listen(address.host, address.port)
    try:
        # 2. the model
        runtime = open_runtime(run, device_name, head_findings)
        model = describe_model(run, runtime.facts, calibrated)

        # 3. the server
        limits = Limits(max_bytes=bounds.max_megabytes << 20, seconds=bounds.seconds)
        names = frozenset(name.lower() for name in (*address.names, *_name_of(address.host)))
        server = Server(model, runtime, limits, Access(token, names, address.is_exposed))
        server.service.batcher.warm_up()
        page = address_of(listening, address.host)

        def begin() -> None:
            show(f"serving {model.facts.name} at {page}")
            say(f"{DISCLAIMER} Ctrl-C stops it.")
            if open_page:
                open_page(page)

        prepare(server, limits, begin).run([listening])
    finally:
        listening.close()
    num_requests, num_images = server.requests.num, server.service.num_images
    show(f"stopped after {count(num_requests, 'request')} and {count(num_images, 'image')}")


def _name_of(host: str) -> list[str]:
    """A host that is a name, and no address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return [host]
    return []


def read_token(address: Address) -> str:
    """The token of the file, or of the variable CXR_TOKEN; empty where neither is there.

    Raises:
        CxrError: No such file, or a token that is short or holds spaces.
    """
    name = TOKEN_VARIABLE if address.token_file is None else f"--token-file {address.token_file}"
    token = os.environ.get(TOKEN_VARIABLE, "")
    if address.token_file is not None:
        try:
            with address.token_file.open(encoding="ascii") as file:
                token = file.read(_MAX_TOKEN_BYTES)
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "is no text"
            raise CxrError(
                f"{name}: cannot be read: {reason}", "write the token into it as one line"
            ) from None
    token = token.strip()
    is_given = address.token_file is not None or bool(token)
    if is_given and (len(token) < _MIN_LETTERS or not token.isascii() or len(token.split()) != 1):
        hint = "python -c 'import secrets; print(secrets.token_urlsafe())' makes one"
        raise CxrError(f"{name}: a token has {_MIN_LETTERS} letters or more, without spaces", hint)
    return token


def _check_installed() -> None:
    """Raises CxrError where a package of the extra is missing."""
    try:
        import fastapi
        import python_multipart
        import uvicorn

        del fastapi, python_multipart, uvicorn
    except ImportError as error:
        raise CxrError(
            f"cxr serve: needs {error.name}, which is not installed", "pip install 'cxr[serve]'"
        ) from None
