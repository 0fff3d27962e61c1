"""Draws the pictures of the README from the demo's run: `scripts/demo`, then `python docs/pictures.py`.

A page of the report (by Chromium), an overlay, and the terminal.
"""

import re
import subprocess
from pathlib import Path

from PIL import Image
from rich.console import Console

from cxr.config.schema import Eval
from cxr.evaluation import predictions
from cxr.evaluation.report import score
from cxr.model import checkpoint as checkpoints
from cxr.report.evaluation import summary
from cxr.report.terminal import render

RUN = Path("runs/demo")
PICTURES = Path("docs/pictures")
_WIDTH = 800


def draw_terminal() -> None:
    """What `cxr eval` prints, as docs/report.svg."""
    checkpoint = checkpoints.load(RUN)
    evaluated = predictions.read(RUN / "eval_test" / "predictions.csv")
    report = score(evaluated, checkpoint.thresholds, config=Eval(), recalibration=checkpoint.recalibration)
    console = Console(record=True, width=96, file=open("/dev/null", "w"))
    console.print("[bold]$ cxr eval runs/demo[/]")
    console.print(render(*summary(report)))
    svg = console.export_svg(title="cxr")
    Path("docs/report.svg").write_text(re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.S))


def draw_page() -> None:
    """The upper part of report.html, as a browser shows it at 1280 pixels."""
    page = (RUN / "eval_test" / "report.html").absolute()
    target = PICTURES / "report.png"
    options = ["--headless", "--no-sandbox", "--hide-scrollbars", "--window-size=1280,1100"]
    subprocess.run(
        ["chromium", *options, f"--screenshot={target}", page.as_uri()], check=True, capture_output=True
    )
    _shrink(target)


def draw_overlay() -> None:
    """The first overlay of Effusion that the demo has drawn."""
    overlay = min(path for path in (RUN / "heatmaps").glob("*Effusion.png"))
    target = PICTURES / "overlay.png"
    target.write_bytes(overlay.read_bytes())
    _shrink(target)


def draw_server() -> None:
    """The page of `cxr serve` with some of the demo's images, as a browser shows it at 1280 pixels."""
    from playwright.sync_api import sync_playwright

    command = ["cxr", "serve", str(RUN), "--port", "0"]
    images = sorted(Path("data/phantom/images").iterdir())[39:45]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server, sync_playwright() as program:
        assert server.stdout
        address = server.stdout.readline().rpartition(" at ")[2].strip()
        browser = program.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(address)
        page.set_input_files("#files", images)
        page.wait_for_selector("#scale:not([hidden])")
        page.fill("#opacity", "35")
        page.evaluate("document.activeElement.blur()")
        page.screenshot(path=PICTURES / "serve.png")
        browser.close()
        server.terminate()
    _shrink(PICTURES / "serve.png")


def _shrink(path: Path) -> None:
    """Make a picture at most 800 pixels wide, in 256 colours."""
    with Image.open(path) as image:
        picture = image.convert("RGB")
    picture.thumbnail((_WIDTH, 10 * _WIDTH), Image.Resampling.LANCZOS)
    picture.quantize(256).save(path, optimize=True)


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    draw_terminal()
    draw_page()
    draw_overlay()
    draw_server()
