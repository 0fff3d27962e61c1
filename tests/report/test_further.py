import json
import os
from pathlib import Path
from urllib.parse import unquote

from cxr.report.further import Further, find_further
from tests.helpers.commands import call


def make(home: Path) -> None:
    """A run folder with reports of other commands, newer than its checkpoint."""
    for name in ("explain_cam/explain", "explain_gradcampp/explain", "shortcuts/shortcuts"):
        (home / name).parent.mkdir(parents=True)
        (home / f"{name}.html").write_text("page")
    (home / "best.safetensors").write_text("weights")
    os.utime(home / "best.safetensors", (1, 1))


def test_links_lead_from_the_report_to_the_pages(tmp_path: Path) -> None:
    home, folder = tmp_path / "a run #1", tmp_path / "elsewhere" / "report"
    make(home)
    found = find_further(home, folder)
    assert found.titles == (
        "Heat maps scored against boxes (explain_cam)",
        "Heat maps scored against boxes (explain_gradcampp)",
        "Shortcuts: the chest or the scanner?",
    )
    folder.mkdir(parents=True)
    assert all((folder / unquote(link)).read_text() == "page" for link in found.links)
    assert not any("#" in link or " " in link for link in found.links)
    assert found.notes == ("", "", "") and found.warnings == ()


def test_warnings_of_shortcuts_are_repeated_unless_the_checkpoint_is_newer(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "shortcuts" / "shortcuts.json").write_text(json.dumps({"warnings": ["it reads a corner", 3]}))
    assert find_further(tmp_path, tmp_path / "eval_test").warnings == ("cxr shortcuts: it reads a corner",)
    os.utime(tmp_path / "best.safetensors")
    os.utime(tmp_path / "shortcuts" / "shortcuts.html", (2, 2))
    found = find_further(tmp_path, tmp_path / "eval_test")
    assert found.warnings == () and found.notes[-1] == "made before the checkpoint was written"


def test_a_run_without_further_reports_has_no_section(tmp_path: Path) -> None:
    assert find_further(tmp_path, tmp_path / "eval_test") == Further()
    assert Further().parts() == ()


def test_the_page_of_eval_leads_to_the_other_reports_of_the_run(run: Path, tmp_path: Path) -> None:
    home = tmp_path / "run"
    make(home)
    (home / "shortcuts" / "shortcuts.json").write_text(json.dumps({"warnings": ["<b>corner</b>"]}))
    (home / "best.safetensors").write_bytes((run / "best.safetensors").read_bytes())
    os.utime(home / "best.safetensors", (1, 1))
    assert call("eval", home, "eval.draws=100", "--examples", "0") == 0
    page = (home / "eval_test" / "report.html").read_text()
    assert "<h2>Further reports</h2>" in page and 'href="../explain_cam/explain.html"' in page
    assert "cxr shortcuts: &lt;b&gt;corner&lt;/b&gt;" in page
    assert "Further reports" in (home / "eval_test" / "report.md").read_text()
