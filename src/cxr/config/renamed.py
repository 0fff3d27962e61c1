"""Keys with another name in earlier versions; recipes, runs and checkpoints that use it are read."""

from collections.abc import Mapping
from typing import NamedTuple


class Renamed(NamedTuple):
    """A key of a section, its old name, and old values that have a new name too."""

    section: str
    old: str
    new: str
    values: Mapping[object, object]


RENAMED = (Renamed("eval", "views", "tta", {"single": "none"}),)


def use_new_names(section: str, values: object) -> object:
    """The values of a section with old names replaced; a key that has both its names is left for an error."""
    if not isinstance(values, Mapping):
        return values
    changed = dict(values)
    for key in RENAMED:
        if key.section == section and key.old in changed and key.new not in changed:
            # some values have another name, too
            value = changed.pop(key.old)
            changed[key.new] = key.values.get(value, value) if isinstance(value, str) else value
    return changed
