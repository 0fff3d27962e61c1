"""NIH ChestX-ray14 from NIH's own addresses: twelve archives of images, two tables and two lists.

Where the constants come from, each found in two or more independent public copies:
    addresses of the archives: NIH's batch_download_zips.py
    MD5 checksums of the archives: NIH's FAQ_CHESTXRAY.pdf, question 7
    sizes of the archives: Content-Range headers of NIH's server, as two public projects recorded them
    tables and lists: their numbers in NIH's Box folder, sizes and SHA-256 checksums; the lists here have them

NIH publishes no direct address of the tables and lists. The torchxrayvision package, which cxr needs anyway,
holds both tables: BBox_List_2017.csv byte for byte, Data_Entry_2017_v2020.csv with another word in its first
line, and with NIH's word it has NIH's checksum. The lists are asked for at the address that the page's own
download button uses; where that fails they must be fetched by hand, and the error says so.

An unpacked archive is noted in .cxr-download.json, so that a further call downloads only what is missing.
"""

import gzip
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from cxr.console import byte_progress, count, say, warn
from cxr.download.fetch import Remote, compare, fetch
from cxr.download.unpack import unpack
from cxr.errors import CxrError
from cxr.files import explain_os_errors, only_one, write_bytes, write_text
from cxr.paths import exists, is_file, is_folder

if TYPE_CHECKING:
    from rich.progress import TaskID

PAGE = "https://nihcc.app.box.com/v/ChestXray-NIHCC"
NUM_IMAGES = 112_120

_STATIC = "https://nihcc.box.com/shared/static/"
_BUTTON = "https://nihcc.app.box.com/index.php?rm=box_download_shared_file"
_IN_FOLDER = f"{_BUTTON}&vanity_name=ChestXray-NIHCC&file_id=f_"

ARCHIVES = tuple(
    Remote(f"images_{number:03}.tar.gz", f"{_STATIC}{key}.gz", num_bytes, "md5", md5)
    for number, (key, num_bytes, md5) in enumerate(
        (
            ("vfk49d74nhbxq3nqjg0900w5nvkorp5c", 2_008_470_987, "fe8ed0a6961412fddcbb3603c11b3698"),
            ("i28rlmbvmfjbl8p2n3ril0pptcmcu9d1", 3_952_623_504, "ab07a2d7cbe6f65ddd97b4ed7bde10bf"),
            ("f1t00wrtdk94satdfb9olcolqx20z2jp", 3_929_234_850, "2301d03bde4c246388bad3876965d574"),
            ("0aowwzs5lhjrceb3qp67ahp0rd1l1etg", 3_838_903_983, "9f1b7f5aae01b13f4bc8e2c44a4b8ef6"),
            ("v5e3goj22zr6h8tzualxfsqlqaygfbsn", 3_935_496_531, "1861f3cd0ef7734df8104f2b0309023b"),
            ("asi7ikud9jwnkrnkj99jnpfkjdes7l6l", 3_986_301_172, "456b53a8b351afd92a35bc41444c58c8"),
            ("jn1b4mw4n6lnh74ovmcjb8y48h8xj07n", 4_016_328_426, "1075121ea20a137b87f290d6a4a5965e"),
            ("tvpxmn7qyrgl0w8wfh9kqfjskv6nmm1j", 4_018_347_353, "b61f34cec3aa69f295fbb593cbd9d443"),
            ("upyy3ml7qdumlgk2rfcvlb9k6gvqq2pj", 4_111_327_929, "442a3caa61ae9b64e61c561294d1e183"),
            ("l6nilvfa9cg3s28tqv1qc1olm3gnz54p", 4_181_556_296, "09ec81c4c31e32858ad8cf965c494b74"),
            ("hhq8fkdgvcari67vfhs7ppg2w6ni4jze", 4_187_084_020, "499aefc67207a5a97692424cf5dbeed5"),
            ("ioqwiy20ihqwyr8pf4c24eazhh281pbu", 2_914_187_733, "dc9fda1757c2de0032b63347a7d2895c"),
        ),
        1,
    )
)
"""The twelve archives of images, 45.1 GB."""

TABLES = tuple(
    Remote(name, _IN_FOLDER + number, num_bytes, "sha256", digest)
    for name, number, num_bytes, digest in (
        (
            "Data_Entry_2017_v2020.csv", "219760887468", 9_003_496,
            "c69a6daca3549af707ca9cacbdf9f9a7b6a9188e8c61157df653520bb72d8eb1",
        ),
        (
            "BBox_List_2017.csv", "219760940956", 92_416,
            "0bbfea9d4c4e9771481b3023b1bc9f0df9dea924453b12986beb29b0c4d0c95b",
        ),
        (
            "train_val_list.txt", "256056636701", 1_470_907,
            "61fbe896321c1c1c8b75f3e4f3a08e4fef6486d95ef8a667c31d4d60dca6cb81",
        ),
        (
            "test_list.txt", "256055473534", 435_131,
            "38ca5ef7f756092946f57c1a59faca882ed589a1ab1f72590b45dc06c6d5e1cc",
        ),
    )
)  # fmt: skip
"""Labels, boxes, and the official split."""

_IMAGE = re.compile(r"\d{8}_\d{3}\.png")
_NOTES = ".cxr-download.json"
_GROWTH = 1.02  # bytes on the disk for each of an archive: PNGs hardly shrink in gzip; assumed, not measured


def download(folder: Path, keep: bool = False) -> int:
    """ChestX-ray14 in a folder, as data.source=nih reads it; how many images stand there.

    Args:
        folder: data.root; it is made where it is not there.
        keep: Keep the archives once they are unpacked.

    Raises:
        CxrError: A disk that is too small, a file that could not be fetched, another process at work in the
            folder. What was downloaded stays, and the same command continues.
    """
    if exists(folder) and not is_folder(folder):
        raise CxrError(f"{folder}: is a file", "--to names a folder")
    with explain_os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with only_one(folder / ".cxr-download.lock", f"{folder}: another process downloads into it"):
        missing = [archive for archive in ARCHIVES if not _is_unpacked(folder, archive)]
        _check_folders(folder, missing)
        check_disk(folder, missing, keep)
        problems = _fetch_tables(folder)
        # numbered as if those that are there had been the first
        for number, archive in enumerate(missing, len(ARCHIVES) - len(missing) + 1):
            _fetch_images(folder, archive, f"{number} of {len(ARCHIVES)}", keep)
    num_images = sum(_read_notes(folder).values())
    if num_images != NUM_IMAGES:
        warn(f"{folder}: {num_images:,} images, where ChestX-ray14 has {NUM_IMAGES:,}")
    if problems:
        hint = f"fetch by hand from {PAGE} and put beside the images"
        raise CxrError(problems, f"{hint}: {', '.join(problem.split(':')[0] for problem in problems)}")
    return num_images


def check_disk(folder: Path, archives: Sequence[Remote], keep: bool) -> None:
    """Refuse a disk that cannot hold the archives still to come and what they unpack to.

    Archives are unpacked one by one, so without `keep` only the largest needs space beside the images.

    Raises:
        CxrError: The disk has less space free.
    """
    unpacked = sum(int(archive.num_bytes * _GROWTH) for archive in archives)
    # what is on the disk already needs no room
    to_come = [archive.num_bytes - _bytes_there(folder, archive) for archive in archives]
    packed = sum(to_come) if keep else max(to_come, default=0)
    free = shutil.disk_usage(folder).free
    if free < unpacked + packed:
        needs = f"{(unpacked + packed) / 1e9:,.1f} GB are needed ({unpacked / 1e9:,.1f} GB of images and"
        needs += f" {packed / 1e9:,.1f} GB of archives, the images' size estimated)"
        problem = f"{folder}: the disk has {free / 1e9:,.1f} GB free, and {needs}"
        hint = "free some space, or take a folder on another disk"
        raise CxrError(problem, f"{hint}; without --keep less is needed" if keep else hint)


def _bytes_there(folder: Path, archive: Remote) -> int:
    """How much of an archive is on the disk already."""
    paths = [folder / archive.name, folder / f"{archive.name}.part"]
    return max((path.stat().st_size for path in paths if is_file(path)), default=0)


def _fetch_tables(folder: Path) -> list[str]:
    """`NAME: PROBLEM` of each table that could not be had; the others stand in the folder."""
    problems = []
    for table in TABLES:
        path = folder / table.name
        if is_file(path):
            problem = compare(path, table)
            if problem:
                warn(f"{path}: {problem}: another edition? It stays as it is")
            continue
        text = _from_package(table)
        if text is not None:
            write_bytes(path, text)
            say(f"{table.name}: NIH's, from the torchxrayvision package")
            continue
        try:
            fetch(table, folder)
            say(f"{table.name}: downloaded")
        except CxrError as error:
            warn(f"{table.name}: {error.problems[0]}")
            problems.append(f"{table.name}: {error.problems[0]}")
    return problems


def _from_package(table: Remote) -> bytes | None:
    """A table that torchxrayvision's package holds, if it has NIH's checksum; the package is not imported."""
    spec = find_spec("torchxrayvision")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "data" / f"{table.name}.gz"
    try:
        text = gzip.decompress(path.read_bytes())
    except (OSError, EOFError):
        return None
    # the package's copy has this word in the first line, as the edition of 2017 had
    text = text.replace(b"Patient Gender", b"Patient Sex", 1)
    return text if hashlib.sha256(text).hexdigest() == table.digest else None


def _fetch_images(folder: Path, archive: Remote, which: str, keep: bool) -> None:
    """Download and unpack one archive, and note it."""
    begun = time.monotonic()
    with byte_progress() as bar:
        # 1. the archive, whole and with its checksum
        path = fetch(archive, folder, _show(bar.add_task(archive.name, total=archive.num_bytes), bar.update))
        seconds = time.monotonic() - begun
        task = bar.add_task(f"unpack {archive.name}", total=archive.num_bytes)
        # 2. its images, in a hidden folder until all are there
        place = _folder_of(folder, archive)
        partial = folder / f".{place.name}.partial"  # hidden: no reader takes it for a folder of images
        with explain_os_errors(partial):
            shutil.rmtree(partial, ignore_errors=True)
        unpacked = unpack(path, partial, _IMAGE, _show(task, bar.update))
    # the note comes first: without it the folder would be taken for another program's
    notes = {**_read_notes(folder), archive.name: unpacked.num_images}
    write_text(folder / _NOTES, json.dumps(notes, indent=1) + "\n")
    with explain_os_errors(place):
        shutil.rmtree(place, ignore_errors=True)  # ours, with images missing
        os.rename(partial, place)
    if not keep:
        path.unlink()
    others = f", {count(unpacked.num_others, 'other file')} passed over" if unpacked.num_others else ""
    size = f"{archive.num_bytes / 1e9:,.2f} GB in {seconds:,.0f} s"
    say(f"{archive.name} ({which}): {size}, {count(unpacked.num_images, 'image')}{others}")


def _show(task: "TaskID", update: Callable[..., None]) -> Callable[[int], None]:
    return lambda num_bytes: update(task, completed=num_bytes)


def _folder_of(folder: Path, archive: Remote) -> Path:
    """images_001 of images_001.tar.gz: NIH's own name of the folder."""
    return folder / archive.name.removesuffix(".tar.gz")


def _is_unpacked(folder: Path, archive: Remote) -> bool:
    """Whether an archive is noted as unpacked, and as many images are still there."""
    images = _folder_of(folder, archive) / "images"
    noted = _read_notes(folder).get(archive.name)
    if noted is None or not is_folder(images):
        return False
    # counted on the disk, since a person may have removed some
    num_images = sum(1 for path in images.iterdir() if _IMAGE.fullmatch(path.name))
    if num_images < noted:
        warn(f"{images}: {num_images:,} of {noted:,} images are there; the archive is downloaded again")
    return num_images >= noted


def _check_folders(folder: Path, archives: Sequence[Remote]) -> None:
    """Refuse folders of images that another program has made: they may be whole, and are never replaced.

    Raises:
        CxrError: Naming each.
    """
    noted = _read_notes(folder)
    others = [_folder_of(folder, archive) for archive in archives if archive.name not in noted]
    found = [path for path in others if exists(path)]
    if found:
        problems = [f"{path}: is there, and cxr download has not made it" for path in found]
        hint = "move it away or take another folder; cxr check tells whether it is whole"
        raise CxrError(problems, hint)


def _read_notes(folder: Path) -> Mapping[str, int]:
    """How many images came out of each archive that was unpacked."""
    try:
        notes = json.loads((folder / _NOTES).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(notes, dict):
        return {}
    return {name: num for name, num in notes.items() if isinstance(num, int)}
