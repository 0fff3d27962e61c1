"""What torch.save wrote: its object as inert parts, and its storages' bytes, checked by the file's size."""

import io
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import torch
from torch import Tensor

from cxr.weights.errors import WeightsError
from cxr.weights.safe_unpickle import read_pickle
from cxr.weights.stored_tensor import Storage, StoredTensor, build, refer

_MAX_PICKLE = 64 << 20  # bytes; a model of 600 layers takes 200 kB
_CUT = "is cut off: numbers of its tensors are missing"
_BIG_ENDIAN = "was written on a machine with another order of bytes"


class _Record(NamedTuple):
    """Bytes in the file; `crc` is 0 where none was written."""

    start: int
    num_bytes: int
    crc: int = 0


class TorchFile:
    """An open file of torch.save: `root` is its object, of dicts, lists, `Part`s and `StoredTensor`s."""

    def __init__(self, path: Path, records: Mapping[str, _Record], root: object = None) -> None:
        self.root = root
        self._path, self._records = path, records
        self._bytes: dict[str, bytearray] = {}

    def read(self, stored: StoredTensor) -> Tensor:
        """The numbers of a stored tensor, a view of bytes that are read once.

        Raises:
            WeightsError: The bytes are not there or not those that were written.
        """
        storage = stored.storage
        assert storage is not None
        if storage.key not in self._bytes:
            self._bytes[storage.key] = self.read_record(storage.key)
        data = self._bytes[storage.key]
        first = storage.first * storage.dtype.itemsize
        # a tensor may be a view: it begins at `first`, and strides say where its numbers lie;
        # `stored_tensor` checked that it reaches no farther than these numbers
        num = storage.num_bytes // stored.dtype.itemsize
        if first + num * stored.dtype.itemsize > len(data):
            raise WeightsError(_CUT)
        numbers = torch.frombuffer(data, dtype=stored.dtype, count=num, offset=first)
        return numbers.as_strided(stored.shape, stored.stride, stored.offset)

    def forget(self) -> None:
        """Let go of the bytes that were read."""
        self._bytes.clear()

    def read_record(self, key: str) -> bytearray:
        """The bytes of a storage or another part, as they were written."""
        if key not in self._records:
            raise WeightsError(_CUT)
        record = self._records[key]
        with self._path.open("rb") as file:
            file.seek(record.start)
            data = bytearray(file.read(record.num_bytes))
        if len(data) != record.num_bytes:
            raise WeightsError(_CUT)
        if record.crc and zlib.crc32(data) != record.crc:
            raise WeightsError("is damaged: a checksum is wrong")
        return data


def open_zip(path: Path) -> TorchFile:
    """The zip archive of PyTorch 1.6 and later: NAME/data.pkl, and NAME/data/KEY for each storage."""
    try:
        records = _list_records(path)
    except WeightsError:
        raise
    except Exception:  # zipfile raises many kinds for a broken archive
        raise WeightsError("is damaged: its list of parts cannot be read") from None
    # two entries may point to the same bytes, so that a small file would fill the memory
    if sum(record.num_bytes for record in records.values()) > path.stat().st_size:
        raise WeightsError("is damaged: its parts overlap")
    if records["data.pkl"].num_bytes > _MAX_PICKLE:
        size = records["data.pkl"].num_bytes
        raise WeightsError(
            f"holds {size / 1e6:,.0f} MB that are no tensors", "save model.state_dict() alone, as tensors"
        )
    parts = TorchFile(path, records)
    if "byteorder" in records and bytes(parts.read_record("byteorder")) == b"big":
        raise WeightsError(_BIG_ENDIAN)
    root = read_pickle(io.BytesIO(parts.read_record("data.pkl")), build, refer)
    # the pickle was read above: what is left are the numbers of the storages
    storages = {key.removeprefix("data/"): record for key, record in records.items()
                if key.startswith("data/")}  # fmt: skip
    return TorchFile(path, storages, root)


def _list_records(path: Path) -> dict[str, _Record]:
    """The archive's entries by their names below its folder."""
    with zipfile.ZipFile(path) as archive:
        entries = {info.filename: info for info in archive.infolist()}
    folder = next(name for name in entries if name.rpartition("/")[2] == "data.pkl").removesuffix("data.pkl")
    with path.open("rb") as file:
        return {name.removeprefix(folder): _find_record(file, info) for name, info in entries.items()}


def _find_record(file: IO[bytes], info: zipfile.ZipInfo) -> _Record:
    """Where an entry's bytes begin: behind its local header of 30 bytes, its name and its padding."""
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size or info.flag_bits & 1:
        reason = "is compressed inside, which torch.save never does"  # and a few kB could fill the memory
        raise WeightsError(reason, "unpack it and save it again with torch.save")
    file.seek(info.header_offset)
    header = file.read(30)
    if header[:4] != b"PK\x03\x04":
        raise WeightsError("is damaged: its list of parts cannot be read")
    # the sizes of the name and of the padding, whose local copy may differ from the one in the list
    name_size, padding = (int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
    return _Record(info.header_offset + 30 + name_size + padding, info.file_size, info.CRC)


def open_legacy(path: Path) -> TorchFile:
    """The stream of PyTorch before 1.6: magic number, version, machine, object, keys, storages."""
    storages: dict[str, Storage] = {}

    def note(reference: object) -> object:
        referred = refer(reference)
        if isinstance(referred, Storage):
            whole: Any = reference
            # the whole storage, of which this may be a view: `_walk_storages` needs its size
            storages[referred.key] = Storage(referred.key, referred.dtype, num=whole[4])
        return referred

    size = path.stat().st_size
    with path.open("rb") as file:
        _, _, machine, root, keys = [read_pickle(file, build, note) for _ in range(5)]
        if isinstance(machine, dict) and machine.get("little_endian") is False:
            raise WeightsError(_BIG_ENDIAN)
        if not isinstance(keys, list) or not {str(key) for key in keys} >= storages.keys():
            raise WeightsError(_CUT)
        records = _walk_storages(file, size, [str(key) for key in keys], storages)
    return TorchFile(path, records, root)


def _walk_storages(
    file: IO[bytes], size: int, keys: list[str], storages: dict[str, Storage]
) -> dict[str, _Record]:
    """Where each storage is: after eight bytes with its number of entries."""
    records: dict[str, _Record] = {}
    at = file.tell()
    for key in keys:
        file.seek(at)
        num = int.from_bytes(file.read(8), "little")
        storage = storages.get(key)
        if storage is None or num != storage.num or at + 8 + storage.num_bytes > size:
            raise WeightsError(_CUT)
        records[key] = _Record(at + 8, storage.num_bytes)
        at += 8 + storage.num_bytes
    return records
