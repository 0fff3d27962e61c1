"""manifest.json of a shared model: size and SHA-256 of each of its files, by which it is downloaded."""

import hashlib
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

MANIFEST, WEIGHTS, RECIPE, CARD = "manifest.json", "best.safetensors", "recipe.yaml", "README.md"
MAX_BYTES = 4_000_000_000
"""Of a file: forty times a ResNet-101, so that a server cannot fill a disk."""


class PublishedFile(BaseModel):
    """What is published of a file."""

    model_config = ConfigDict(frozen=True)
    bytes: int = Field(ge=1, le=MAX_BYTES)
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Manifest(BaseModel):
    """The files of a shared model but the card, which its author changes.

    `card_sha256` is of the card as cxr wrote it, by which it tells an edited one; empty in earlier versions.
    """

    model_config = ConfigDict(frozen=True)
    format: Literal[1] = 1
    files: Annotated[dict[str, PublishedFile], Field(max_length=100)]
    card_sha256: str = ""


def make_manifest(files: Mapping[str, bytes], card: bytes = b"") -> str:
    """The text of manifest.json for files, which are given by name, and for the card where there is one."""
    described = {
        name: PublishedFile(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
        for name, data in files.items()
    }
    return (
        Manifest(
            files=described, card_sha256=hashlib.sha256(card).hexdigest() if card else ""
        ).model_dump_json(indent=2)
        + "\n"
    )
