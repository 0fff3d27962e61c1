"""Generated chest-like images in the layout of ChestX-ray14 or CheXpert, for the demo and for tests.

What is drawn: frontal views (PA, and AP with a larger heart) of invented patients with one to six images
each. The 14 findings of ChestX-ray14 are drawn independently with a prevalence of 0.12 to 0.16, so one image
in eight has none and most have two or more; each is drawn as a textbook describes it, in bold strokes. The
CheXpert layout leaves Emphysema out, which has no observation there, and adds fractures and support devices.
Nothing about real patients is in it, and no metric of it says anything about radiographs.
"""

import os
import shutil
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cxr.config.schema import Phantom
from cxr.errors import CxrError
from cxr.files import explain_os_errors
from cxr.phantom import chexpert, nih
from cxr.phantom.exams import plan


def generate(root: Path, phantom: Phantom, workers: int = 0) -> None:
    """Writes a dataset of generated images to `root`, which appears only when it is complete.

    Args:
        root: A new or an empty folder.
        phantom: What to generate; each image is a function of its seed and of the image's number.
        workers: Threads that draw; 0 is one for each core.

    Raises:
        CxrError: `root` exists and is not an empty folder.
    """
    root = root.absolute()
    if root.exists() and not (root.is_dir() and not any(root.iterdir())):
        hint = "name a new or an empty folder, or delete this one"
        raise CxrError(f"{root}: exists already and is not an empty folder", hint)
    # a folder of its own name for each process: two that draw the same dataset do not meet
    partial = root.with_name(f".{root.name}.partial-{uuid.uuid4().hex[:8]}")
    with explain_os_errors(root):
        partial.mkdir(parents=True)
    try:
        _write(partial, phantom, workers or os.cpu_count() or 1)
        partial.rename(root)
    except OSError:
        # another process may have finished the same dataset first; its files equal ours
        if find_layout(root) is None:
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write(root: Path, phantom: Phantom, workers: int) -> None:
    save_image, write_tables = nih.save_image, nih.write_tables
    if phantom.layout == "chexpert":
        save_image, write_tables = chexpert.save_image, chexpert.write_tables
    exams = plan(phantom.num_images, phantom.seed)
    with ThreadPoolExecutor(workers) as pool:
        drawn = list(pool.map(lambda exam: save_image(root, exam, phantom.size, phantom.seed), exams))
    write_tables(root, drawn, phantom.size, phantom.seed)


def find_layout(root: Path) -> str | None:
    """`nih` or `chexpert` by the tables in a folder, None where it has neither."""
    if any(root.glob("Data_Entry_2017*.csv")):
        return "nih"
    return "chexpert" if (root / "train.csv").exists() else None
