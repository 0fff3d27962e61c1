"""run.json of a run folder: what made the run, so that it can be repeated and compared.

The recipe is config.yaml beside it, which run.json holds the SHA-256 of.
"""

import hashlib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cxr.console import warn
from cxr.environment import Environment
from cxr.paths import is_file

RECORD = "run.json"
_MAX_BYTES = 50_000_000


class InputFile(BaseModel):
    """A file that the run read whole.

    Attributes:
        path: As it was named then, from the working folder.
        bytes: Its size.
        sha256: Of its bytes.
    """

    model_config = ConfigDict(frozen=True)
    path: str
    bytes: int = Field(ge=0)
    sha256: str


class Session(BaseModel):
    """One call of cxr train.

    Attributes:
        started: Date and time with the zone.
        command: The command line.
        folder: The working folder.
        environment: What it ran on.
    """

    model_config = ConfigDict(frozen=True)
    started: str
    command: tuple[str, ...]
    folder: str = ""
    environment: Environment


class RunRecord(BaseModel):
    """What made a run.

    Attributes:
        format: Of this file.
        begun: The call that began it.
        resumed: The calls that resumed it.
        seeds: `seed`, and `data.split_seed` of each dataset.
        files: Label tables, lists, weights and manifests of stores, by what they are.
        data: Hashes of the images of each split, of the labels and of the pixels, as
            `training.setup.identify` makes them.
        patient_key: Id of the key that the hashes in `data` were made with; empty without.
    """

    format: Literal[1] = 1
    begun: Session
    resumed: tuple[Session, ...] = ()
    seeds: dict[str, int] = {}
    files: dict[str, InputFile] = {}
    data: dict[str, str] = {}
    patient_key: str = ""

    @property
    def last(self) -> Session:
        """The call that ended it."""
        return self.resumed[-1] if self.resumed else self.begun


def read_record(folder: Path) -> RunRecord | None:
    """The run.json of a run folder; None where there is none, or, with a warning, where it is damaged."""
    path = folder / RECORD
    try:
        if not is_file(path) or path.stat().st_size > _MAX_BYTES:
            return None
        return RunRecord.model_validate_json(path.read_bytes())
    except (OSError, ValidationError, RecursionError):
        warn(f"{path}: cut or garbled, left out")
        return None


def describe_file(path: Path) -> InputFile:
    """Size and SHA-256 of a file.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return InputFile(path=str(path), bytes=file.tell(), sha256=digest.hexdigest())
