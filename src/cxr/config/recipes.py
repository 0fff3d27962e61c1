"""The recipes that come with cxr, found by name: `nih_densenet121` is `configs/nih_densenet121.yaml`."""

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

from cxr.errors import CxrError
from cxr.paths import exists, is_file

OF_RUN = "config.yaml"
"""The recipe in a run folder, with all its overrides."""

_INSTALLED = Path(__file__).parents[1] / "recipes"  # where the wheel puts configs/
_SOURCE_TREE = Path(__file__).parents[3] / "configs"


@dataclass(frozen=True)
class Recipe:
    """A recipe, and what the comment at its head says.

    Attributes:
        path: The YAML file.
        about: What it trains, in a sentence or two.
        hardware: What it needs.
        time: How long it takes there.
        score: What it reaches.
    """

    path: Path
    about: str
    hardware: str
    time: str
    score: str

    @property
    def name(self) -> str:
        """By which commands find it."""
        return self.path.stem


def recipe_folder() -> Path:
    """The folder of the recipes: inside the package when installed from a wheel, else configs/."""
    return _INSTALLED if _INSTALLED.is_dir() else _SOURCE_TREE


def list_recipes() -> list[Recipe]:
    """Every recipe, by name."""
    return [_read_head(path) for path in sorted(recipe_folder().glob("*.yaml"))]


def is_recipe_name(path: Path) -> bool:
    """Whether a path where nothing is names a recipe; a run folder may have the name of its recipe."""
    return not exists(path) and _find(path) is not None


def find_recipe(path: Path) -> Path:
    """The file of a config: itself where it exists, else the recipe of that name, else that of a run folder.

    Raises:
        CxrError: Nothing of these; names that are close are suggested.
    """
    if is_file(path) or (path.exists() and not path.is_dir()):
        return path
    found = _find(path)
    if found:
        return found
    if is_file(path / OF_RUN):
        return path / OF_RUN
    hint = "cxr recipes lists the names; cxr init writes a recipe for your own images"
    if path.is_dir():
        raise CxrError(f"{path}: is a folder without {OF_RUN}; this command needs a recipe", hint)
    names = [recipe.stem for recipe in sorted(recipe_folder().glob("*.yaml"))]
    # part of a name is what people type first: nih, chexpert, densenet121
    close = [name for name in names if path.stem.lower() in name] if len(path.stem) > 2 else []
    close = close or difflib.get_close_matches(path.stem.lower()[:60], names, n=3)
    what = "no such file" if path.suffix or len(path.parts) > 1 else "no such file or recipe"
    choice = " or ".join(filter(None, [", ".join(close[:-1]), *close[-1:]]))
    suggested = f"; did you mean {choice}?" if close else ""
    raise CxrError(f"{path}: {what}{suggested}", hint)


def _find(path: Path) -> Path | None:
    """The recipe that a path names: `demo`, `demo.yaml`, or `configs/demo.yaml` from another folder."""
    # a path into any other folder is meant as it is, and names no recipe
    if path.suffix not in ("", ".yaml") or path.parent.parts not in ((), ("configs",)):
        return None
    found = recipe_folder() / f"{path.stem}.yaml"
    return found if is_file(found) else None


def _read_head(path: Path) -> Recipe:
    """A recipe with the facts of its head: a command, sentences, then `Hardware: … Time: … Score: …`."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# ").strip())
    facts: dict[str, str] = {}
    about = []
    for line in lines[1:]:
        named = re.findall(r"(Hardware|Time|Score): (.*?)(?=\s{2,}|$)", line)
        facts |= {name: value.rstrip(".") for name, value in named}
        if not named:
            about.append(line)
    assert facts.keys() == {"Hardware", "Time", "Score"}, f"{path}: its head does not name all three"
    return Recipe(path, " ".join(about), facts["Hardware"], facts["Time"], facts["Score"])
