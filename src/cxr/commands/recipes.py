"""cxr recipes: the recipes that come with cxr, with what each needs and reaches."""

from cxr.config.recipes import list_recipes
from cxr.console import line, out

_INDENT = "  "


def recipes() -> None:
    """Print each recipe's name, what it trains, its hardware, time and score."""
    terminal = out()
    for recipe in list_recipes():
        terminal.print(line(recipe.name, style="bold"))
        facts = f"Hardware: {recipe.hardware}. Time: {recipe.time}. Score: {recipe.score}."
        for text in (recipe.about, facts):
            wrapped = line(text).wrap(terminal, terminal.width - len(_INDENT))
            for row in wrapped:
                terminal.print(line(_INDENT + row.plain.rstrip()))
        terminal.print()
    terminal.print("Train with one: cxr train NAME data.root=FOLDER. See its keys: cxr config NAME.")
