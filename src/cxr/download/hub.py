"""`hub:OWNER/NAME@REVISION`: a model that `cxr card` wrote and somebody uploaded to Hugging Face.

What makes it safe:
1. The weights are safetensors, which hold numbers and no code; nothing is unpickled.
2. REVISION is a commit hash, which cannot change, or a tag, whose commit is asked for once and then kept.
3. `manifest.json` of that commit states size and SHA-256 of the weights: a damaged or another file is
   refused. It comes from the same server, so it says nothing against the owner or the server.
4. `#sha256=DIGITS` behind REVISION says from elsewhere, such as a paper, which file it must be.

Files stand in the cache folder below server, name and commit, so a mirror cannot replace those of another.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar
from urllib.parse import quote, urlsplit

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from cxr.console import byte_progress, say
from cxr.download.fetch import Remote, compare, fetch
from cxr.download.manifest import MANIFEST, WEIGHTS, Manifest, PublishedFile
from cxr.download.request import TryAgainError, open_url, read_chunk
from cxr.errors import CxrError
from cxr.files import explain_os_errors, only_one, write_text
from cxr.paths import is_file
from cxr.text import shorten, visible

PREFIX = "hub:"
ENDPOINT, OFFLINE = "HF_ENDPOINT", "HF_HUB_OFFLINE"
"""Variables of Hugging Face's own programs: another server, such as a mirror; and no network at all."""

_HUGGING_FACE = "https://huggingface.co"
_MAX_TEXT = 1_000_000  # bytes of a manifest, or of a list of tags
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
_ADDRESS = re.compile(rf"hub:({_NAME})/({_NAME})(?:@([^#]*))?(?:#sha256=(.*))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_TAG = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?")
_BRANCHES = ("main", "master", "head", "dev", "develop")
_SERVER = re.compile(r"https?://[A-Za-z0-9.-]+(?::\d{1,5})?(?:/[A-Za-z0-9._/-]*)?")
_FORM = "hub:OWNER/NAME@REVISION, where REVISION is a commit hash or a tag"
_OR_ELSEWHERE = "or download its files elsewhere, and give the folder in place of hub:..."
_T = TypeVar("_T")


@dataclass(frozen=True)
class Address:
    """What `hub:OWNER/NAME@REVISION#sha256=DIGITS` says; `sha256` is empty where it is not given."""

    text: str
    owner: str
    name: str
    revision: str
    sha256: str


class _Tag(BaseModel):
    name: str
    targetCommit: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]


class _Refs(BaseModel):
    """What is read of the list of a model's tags and branches."""

    tags: list[_Tag] = []
    branches: list[_Tag] = []


def is_named(model: str | Path) -> bool:
    """Whether a model is named as one on Hugging Face rather than a file or a run."""
    return str(model).startswith(PREFIX)


def parse(model: str | Path) -> Address:
    """What a name says.

    Raises:
        CxrError: It is of another form, or names a branch.
    """
    text = str(model)
    shown = shorten(visible(text[:400]), 120)
    found = _ADDRESS.fullmatch(text)
    if not found or ".." in text or "--" in f"{found[1]}/{found[2]}":
        raise CxrError(f"{shown}: is no name of a model on Hugging Face", f"give {_FORM}")
    owner, name, revision, sha256 = (found[number] or "" for number in range(1, 5))
    if not revision:
        hint = f"give {_FORM}: the page of the model lists its commits"
        raise CxrError(f"{shown}: names no revision, and the model may change", hint)
    if revision.lower() in _BRANCHES or revision.startswith("refs"):
        raise CxrError(f"{shown}: {revision} is a branch, and what is there may change", f"give {_FORM}")
    if not _TAG.fullmatch(revision):
        raise CxrError(f"{shown}: the revision is neither a commit hash nor a tag", f"give {_FORM}")
    if "#" in text and not re.fullmatch(r"[0-9a-f]{64}", sha256):
        problem = f"{shown}: the checksum is not 64 digits from 0 to f"
        raise CxrError(problem, f"{MANIFEST} of the model states it: #sha256=DIGITS")
    return Address(text, owner, name, revision, sha256)


def find(model: str | Path) -> Path | None:
    """The weights in the cache folder, if they are there whole; nothing is asked for.

    Raises:
        CxrError: The name is of another form; the file is another than its checksum says.
    """
    address = parse(model)
    commit = _read_commit(address)
    folder = _folder(address) / commit
    manifest = _read(folder / MANIFEST, Manifest) if commit else None
    if manifest is None or not is_file(folder / WEIGHTS):
        return None
    published = _choose(address, manifest)
    problem = compare(folder / WEIGHTS, _remote(published, ""))
    if problem:
        raise CxrError(f"{folder / WEIGHTS}: {problem}", "delete it; the command then downloads it again")
    return folder / WEIGHTS


def fetch_weights(model: str | Path) -> Path:
    """The weights of a model in the cache folder, downloaded unless they are there.

    Raises:
        CxrError: The name is of another form; no network; no such model, revision or file; another size or
            checksum than stated; a disk that is full. What was downloaded of the file is continued.
    """
    path = find(model)
    if path:
        return path
    address = parse(model)
    server = _server()
    if os.environ.get(OFFLINE, "").upper() in ("1", "ON", "YES", "TRUE"):
        problem = f"{address.text}: is not in {_folder(address)}, and {OFFLINE} forbids to download it"
        raise CxrError(problem, f"unset {OFFLINE}, {_OR_ELSEWHERE}")
    commit = _read_commit(address) or _ask_commit(address, server)
    folder = _folder(address) / commit
    url = f"{server}/{address.owner}/{address.name}/resolve/{commit}/"
    with explain_os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with only_one(folder / ".lock", f"{folder}: another process downloads into it"):
        text = _ask(address, url + MANIFEST)
        published = _choose(address, _parse(text, Manifest, f"{address.text}: {url}{MANIFEST}"))
        say(f"{address.text}: downloading {published.bytes / 1e6:,.1f} MB from {server} (commit {commit})")
        with byte_progress() as bar:
            task = bar.add_task(WEIGHTS, total=published.bytes)
            path = fetch(
                _remote(published, url + WEIGHTS), folder, lambda done: bar.update(task, completed=done)
            )
        # last, and only with the weights: where the manifest stands, the model is whole
        write_text(folder / MANIFEST, text)
        if not _COMMIT.fullmatch(address.revision):
            write_text(_tag_file(address), commit + "\n")
    return path


def _server() -> str:
    """Hugging Face's address, or that of HF_ENDPOINT; `request` refuses all but https and this machine."""
    given = os.environ.get(ENDPOINT, "").strip().rstrip("/")
    if given and not _SERVER.fullmatch(given):
        raise CxrError(f"{ENDPOINT}: {visible(given[:100])} is no address", f"unset it, or {_HUGGING_FACE}")
    return given or _HUGGING_FACE


def _folder(address: Address) -> Path:
    """The cache folder of a model: `~/.cache/cxr/hub/SERVER/OWNER--NAME`."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    home = Path(cache) if os.path.isabs(cache) else Path("~/.cache").expanduser()
    parts = urlsplit(_server())
    host = re.sub(r"[^A-Za-z0-9.-]", "_", parts.netloc + parts.path)
    return home / "cxr" / "hub" / host / f"{address.owner}--{address.name}"


def _tag_file(address: Address) -> Path:
    """Where the commit of a tag is kept, so that a tag that moves changes nothing here."""
    return _folder(address) / "tags" / address.revision


def _read_commit(address: Address) -> str:
    """The commit of an address as far as it is known here, else empty."""
    if _COMMIT.fullmatch(address.revision):
        return address.revision
    try:
        commit = _tag_file(address).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return commit if _COMMIT.fullmatch(commit) else ""


def _ask_commit(address: Address, server: str) -> str:
    """The commit of a tag.

    Raises:
        CxrError: There is no such tag.
    """
    url = f"{server}/api/models/{quote(address.owner)}/{quote(address.name)}/refs"
    refs = _parse(_ask(address, url), _Refs, f"{address.text}: {url}")
    for tag in refs.tags:
        if tag.name == address.revision:
            return tag.targetCommit
    if any(branch.name == address.revision for branch in refs.branches):
        problem = f"{address.text}: {address.revision} is a branch, and what is there may change"
        raise CxrError(problem, f"give {_FORM}")
    names = ", ".join(visible(tag.name[:40]) for tag in refs.tags[:5]) or "none"
    raise CxrError(f"{address.text}: the model has no tag {address.revision}", f"its tags: {names}")


def _ask(address: Address, url: str) -> str:
    """A short text from the server.

    Raises:
        CxrError: No connection, another answer than 200, more bytes than such a text has, or no text.
    """
    data = b""
    try:
        with open_url(url, 0, "") as response:
            while chunk := read_chunk(response):
                data += chunk
                if len(data) > _MAX_TEXT:
                    hint = "is HF_ENDPOINT the right server?"
                    raise CxrError(f"{address.text}: {url} sends more than {_MAX_TEXT:,} bytes", hint)
        return data.decode("utf-8")
    except TryAgainError as failure:
        problem = f"{address.text}: is not in {_folder(address)}, and {url}: {failure.reason}"
        raise CxrError(problem, f"try again with a network, {_OR_ELSEWHERE}") from None
    except UnicodeDecodeError:
        raise CxrError(f"{address.text}: {url} is no text", "is HF_ENDPOINT the right server?") from None
    except CxrError as error:
        if ": answers " not in error.problems[0]:
            raise
        hint = f"is the name right, is the model public, and did cxr card write it? It needs {MANIFEST}"
        raise CxrError([f"{address.text}: {problem}" for problem in error.problems], hint) from None


def _parse(text: str, kind: type[_T], where: str) -> _T:
    try:
        return TypeAdapter(kind).validate_json(text)
    except (ValidationError, RecursionError):
        hint = "the folder must be one that cxr card wrote"
        raise CxrError(f"{where}: is not what cxr expects there", hint) from None


def _read(path: Path, kind: type[_T]) -> _T | None:
    """A file of the cache folder; None where it is not there, or damaged."""
    try:
        return TypeAdapter(kind).validate_json(path.read_bytes()) if is_file(path) else None
    except (OSError, ValidationError, RecursionError):
        return None


def _choose(address: Address, manifest: Manifest) -> PublishedFile:
    """What the manifest says of the weights.

    Raises:
        CxrError: Nothing, or another checksum than the address.
    """
    published = manifest.files.get(WEIGHTS)
    if published is None:
        raise CxrError(f"{address.text}: its {MANIFEST} names no {WEIGHTS}", "did cxr card write it?")
    if address.sha256 and address.sha256 != published.sha256:
        problem = f"{address.text}: the model's {WEIGHTS} has the SHA-256 {published.sha256}"
        raise CxrError(problem, "it is another file than the one that was meant; ask where it is from")
    return published


def _remote(published: PublishedFile, url: str) -> Remote:
    return Remote(WEIGHTS, url, published.bytes, "sha256", published.sha256)
