"""What was remarkable about images while they were read, by file."""

from collections import defaultdict
from collections.abc import Callable, Sequence

from cxr.images.grey import Grey

Note = Callable[[str], None]
"""Takes a sentence about the image that is being read."""

CONSTANT = "every pixel is the same"
"""The note about a constant image."""

_NUM_NAMED = 3


def ignore_note(_sentence: str) -> None:
    """A Note for callers that do not want to know."""


def note_constant(grey: Grey, note: Note) -> None:
    """Note it where every pixel of an image [H, W] is the same."""
    height, width = grey.shape
    # two or three pixels are enough for most images, and spare them the search for the minimum and maximum
    middle = grey[height // 2, width // 2]
    if grey[height // 3, width // 3] != middle or grey[height // 5, width // 4] != middle:
        return
    if grey.min() == grey.max():
        note(CONSTANT)


class Notes:
    """Sentences about files; may be filled from several threads."""

    def __init__(self) -> None:
        self._by_path: dict[str, dict[str, None]] = {}

    def add(self, path: str, sentence: str) -> None:
        """Note a sentence about a file, once."""
        self._by_path.setdefault(path, {})[sentence] = None

    def of(self, path: str) -> tuple[str, ...]:
        """The sentences about a file."""
        return tuple(self._by_path.get(path, ()))

    def summarise(self, paths: Sequence[str]) -> list[str]:
        """A line for each sentence: how many of the files it is about, and the first of them."""
        paths_of: dict[str, list[str]] = defaultdict(list)
        for path in dict.fromkeys(paths):
            for sentence in self.of(path):
                paths_of[sentence].append(path)
        lines = []
        for sentence, found in sorted(paths_of.items()):
            names = ", ".join(found[:_NUM_NAMED]) + (", ..." if len(found) > _NUM_NAMED else "")
            lines.append(f"{sentence}: {len(found):,} of {len(paths):,}: {names}")
        return lines
