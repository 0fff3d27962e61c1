"""What was remarkable about images while they were read, by file."""

from collections import defaultdict
from collections.abc import Callable, Sequence

from cxr.images.grey import Grey

Note = Callable[[str], None]

CONSTANT = "every pixel is the same"
"""What is said of a constant image."""

_NAMED = 3


def note_constant(grey: Grey, note: Note) -> None:
    """Say so where every pixel is the same."""
    height, width = grey.shape
    middle = grey[height // 2, width // 2]  # a look at two or three pixels spares most images the rest
    if grey[height // 3, width // 3] == middle == grey[height // 5, width // 4] and grey.min() == grey.max():
        note(CONSTANT)


class Notes:
    """Sentences about files; may be filled from several threads."""

    def __init__(self) -> None:
        self._by_path: dict[str, dict[str, None]] = {}

    def add(self, path: str, sentence: str) -> None:
        """Note a sentence of a file, once."""
        self._by_path.setdefault(path, {})[sentence] = None

    def of(self, path: str) -> tuple[str, ...]:
        """The sentences of a file."""
        return tuple(self._by_path.get(path, ()))

    def summarise(self, paths: Sequence[str]) -> list[str]:
        """A line for each sentence: how many of the files it is about, and the first of them."""
        about: dict[str, list[str]] = defaultdict(list)
        for path in dict.fromkeys(paths):
            for sentence in self.of(path):
                about[sentence].append(path)
        return [
            f"{sentence}: {len(names):,} of {len(paths):,}: {', '.join(names[:_NAMED])}"
            + (", ..." if len(names) > _NAMED else "")
            for sentence, names in sorted(about.items())
        ]
