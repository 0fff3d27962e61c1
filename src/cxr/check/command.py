"""The body of cxr check: survey, write, print."""

from pathlib import Path

from cxr.check import page, render, samples
from cxr.check.survey import Survey, survey
from cxr.config import Config
from cxr.console import out as terminal
from cxr.console import say
from cxr.files import write_text


def check(config: Config, name: str, folder: Path, quick: bool = False) -> bool:
    """Whether cxr train would begin; prints what was found and writes `check.json` and `check.html` into the folder.

    Of several archives, each is also shown by itself and written into a folder of its name below that.

    Raises:
        CxrError: Nothing to look at yet, or a folder that cannot be written.
    """
    found = survey(config, quick, [folder])
    for part in found.parts:
        _show(part, f"{name}, {part.check.part}", folder / part.check.part, part.check.part)
    _show(found, name, folder, "all archives together" if found.parts else "")
    return found.check.ready


def _show(found: Survey, name: str, folder: Path, heading: str) -> None:
    write_text(folder / "check.json", render.render_json(found.check))
    write_text(folder / "check.html", page.render_html(found.check, samples.take(found), name))
    if heading:
        terminal().print(f"[bold]{heading}[/]")
    terminal().print(render.render_terminal(found.check), soft_wrap=False)
    for line in found.private:
        say(f"{line} (named here, and in no report)")
    print(f"report: {folder / 'check.html'}" + ("\n" if found.check.part else ""))
