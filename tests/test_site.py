"""The documentation site is built without a warning, with a page for every command and every key."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from cxr.config.key_tree import walk
from cxr.config.schema import Config

HOME = Path(__file__).parents[1]


@pytest.mark.skipif(not find_spec("mkdocs"), reason="needs mkdocs (pip install -e '.[docs]')")
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(tmp_path)]
    done = subprocess.run(command, cwd=HOME, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr  # without --quiet, which would hide warnings from --strict
    commands = (tmp_path / "cli" / "index.html").read_text()
    assert all(f"cxr {name}" in commands for name in ("train", "eval", "predict", "init", "download"))
    keys = (tmp_path / "config" / "index.html").read_text()
    for path, _, is_section in walk(Config):
        assert is_section or f"<code>{'.'.join(path)}</code>" in keys
    pages = "".join(path.read_text() for path in tmp_path.rglob("*.html"))
    assert "fonts.googleapis.com" not in pages  # the site asks no other server for anything
