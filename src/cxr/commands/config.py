"""cxr config: every key of a recipe, or of some of its sections, with value and meaning."""

from collections.abc import Sequence
from pathlib import Path

from cxr.config.load import load, refuse_blanks
from cxr.config.render import render


def print_config(recipe: Path, arguments: Sequence[str]) -> None:
    """Print a recipe as YAML, each key with its meaning.

    Args:
        recipe: A YAML file, or the name of a recipe.
        arguments: `key=value` texts, and names of sections or keys, which are then printed alone.

    Raises:
        CxrError: The recipe or an override is wrong, or there is no such section.
    """
    refuse_blanks(arguments)
    sections = [text for text in arguments if "=" not in text]
    config = load(recipe, [text for text in arguments if text not in sections])
    print(render(config, sections), end="")
