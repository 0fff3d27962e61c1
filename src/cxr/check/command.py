"""The body of cxr check: survey, write, print."""

from pathlib import Path

from cxr.check import page, render, samples
from cxr.check.survey import survey
from cxr.config import Config
from cxr.console import out as terminal
from cxr.data import joint
from cxr.files import write_text


def check(config: Config, name: str, folder: Path, quick: bool = False) -> bool:
    """Whether cxr train would begin; prints what was found and writes `check.json` and `check.html` into the folder.

    Several archives are looked at one by one, each for all that it labels, and written into folders of their names.

    Raises:
        CxrError: Nothing to look at yet, or a folder that cannot be written.
    """
    alone = joint.separate(config)
    if len(alone) == 1:
        return _check(config, name, folder, quick)
    ready = []
    for one, archive in zip(alone, joint.names(config.data), strict=True):
        terminal().print(f"[bold]{archive}[/]")
        every = one.model_copy(update={"data": one.data.model_copy(update={"findings": None})})
        ready.append(_check(every, f"{name}, {archive}", folder / archive, quick))
    return all(ready)


def _check(config: Config, name: str, folder: Path, quick: bool) -> bool:
    found = survey(config, quick, [folder])
    write_text(folder / "check.json", render.render_json(found.check))
    write_text(folder / "check.html", page.render_html(found.check, samples.take(found), name))
    terminal().print(render.render_terminal(found.check), soft_wrap=False)
    print(f"report: {folder / 'check.html'}")
    return found.check.ready
