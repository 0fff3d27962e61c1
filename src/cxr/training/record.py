"""run.json is written here: what made a run; `report.run_record` says what is in it."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import torch

from cxr.config.schema import Config
from cxr.console import warn
from cxr.data import combine as joint
from cxr.data.manifest import MANIFEST
from cxr.device import name_device
from cxr.environment import Environment, describe_machine
from cxr.errors import CxrError
from cxr.files import write_text
from cxr.model import imagenet, xrv
from cxr.patient_hash import hasher_from_environment
from cxr.report.run_files import RECIPE
from cxr.report.run_record import RECORD, InputFile, RunRecord, Session, describe_file, read_record
from cxr.training.setup import TrainSetup
from cxr.weights.errors import WeightsError
from cxr.weights.locate import locate, split_choice


def write_record(setup: TrainSetup, label_files: Sequence[Path]) -> None:
    """Write run.json of a run that begins; config.yaml stands beside it already."""
    config = setup.config
    record = RunRecord(
        begun=_describe_session(setup),
        seeds=_read_seeds(config),
        files=describe_inputs(config, label_files),
        data=hide_names(setup.identity, config.train.remember_patients),
        patient_key=hasher_from_environment().key_id,
    )
    _write(config.out, record)


def add_session(setup: TrainSetup) -> None:
    """Note in run.json that a run is resumed; nothing where an earlier version began it."""
    folder = setup.config.out
    record = read_record(folder)
    if record is None:
        return
    files = record.files | _describe_all({RECIPE: folder / RECIPE})  # it is written again at a resume
    changes = {"resumed": (*record.resumed, _describe_session(setup)), "files": files}
    _write(folder, record.model_copy(update=changes))


def describe_inputs(config: Config, label_files: Sequence[Path]) -> dict[str, InputFile]:
    """Size and checksum of each file that a run depends on, by what it is; pixels are known by their store.

    Args:
        config: The recipe.
        label_files: Tables and lists that were read.
    """
    files: dict[str, Path | None] = {RECIPE: config.out / RECIPE}
    files |= {f"labels: {name}": path for name, path in _name_files(label_files).items()}
    files["weights"] = find_weights(config)
    for number, part in enumerate(joint.separate(config)):
        name = "store" if number == 0 else f"store {number + 1}"
        files[name] = joint.store_path(part, part.data) / MANIFEST
    return _describe_all(files)


def find_weights(config: Config) -> Path | None:
    """The file of the first weights; None for random ones."""
    weights = config.model.weights
    if weights == "none":
        return None
    if weights == "imagenet":
        return imagenet.path_of(config.model.backbone)
    if xrv.is_named(weights):
        return xrv.path_of(xrv.find(weights))
    try:
        return locate(split_choice(weights)[0])
    except (WeightsError, CxrError):
        return None


def hide_names(identity: Mapping[str, str], remember_patients: bool) -> dict[str, str]:
    """Hashes of the data as run.json may hold them: a hash of a few names can be found by trying names.

    With a key they are hashed again with it. Without `remember_patients` those of names are left out.
    """
    hasher = hasher_from_environment()
    kept = {
        name: digest for name, digest in identity.items() if remember_patients or name in ("labels", "pixels")
    }
    return {name: hasher.digest(digest).hex() if hasher.key_id else digest for name, digest in kept.items()}


def describe_environment(device: torch.device, num_processes: int) -> Environment:
    """What this process runs on."""
    machine = describe_machine()
    update = {
        "versions": dict(machine.versions) | _gpu_versions(device),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "num_threads": torch.get_num_threads(),
        "device": name_device(device),
        "num_processes": num_processes,
    }
    return machine.model_copy(update=update)


def _gpu_versions(device: torch.device) -> dict[str, str]:
    """CUDA, cuDNN and the driver, where the device is a GPU of theirs."""
    if device.type != "cuda":
        return {}
    cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    found = {"CUDA": str(torch.version.cuda), "cuDNN": str(cudnn)}
    # NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19 18:56:32 UTC 2023
    with suppress(OSError, UnicodeDecodeError, StopIteration):
        words = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8").split()
        found["driver"] = next(word for word in words if word[0].isdigit() and "." in word)
    return found


def _describe_session(setup: TrainSetup) -> Session:
    return Session(
        started=datetime.now().astimezone().isoformat(timespec="seconds"),
        command=tuple(sys.argv),
        folder=str(Path.cwd()),
        environment=describe_environment(setup.world.device, setup.world.size),
    )


def _read_seeds(config: Config) -> dict[str, int]:
    seeds = {"seed": config.seed, "data.split_seed": config.data.split_seed}
    others = {
        f"data.also.{number}.split_seed": data.split_seed for number, data in enumerate(config.data.also)
    }
    return seeds | others


def _name_files(paths: Sequence[Path]) -> dict[str, Path]:
    """The files by their names; those of equal names by folder and name."""
    names = [path.name for path in paths]
    return {
        path.name if names.count(path.name) == 1 else f"{path.parent.name}/{path.name}": path
        for path in paths
    }


def _describe_all(files: Mapping[str, Path | None]) -> dict[str, InputFile]:
    """Those that are there; a file that cannot be read is left out with a warning."""
    found = {}
    for name, path in files.items():
        if path is None or not path.is_file():
            continue
        try:
            found[name] = describe_file(path)
        except OSError as error:
            warn(f"{path}: has no checksum in {RECORD}: {error.strerror}")
    return found


def _write(folder: Path, record: RunRecord) -> None:
    write_text(folder / RECORD, record.model_dump_json(indent=2) + "\n")
