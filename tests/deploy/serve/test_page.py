"""The page in Chromium: images are dropped, bars read, sliders moved, and all of it by keyboard."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cxr.deploy.serve.guard import Access
from cxr.images.read import decode
from tests.helpers.dicoms import write_dicom
from tests.helpers.serving import Serving, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytest.importorskip("playwright", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    from playwright.sync_api import sync_playwright

    with sync_playwright() as program:
        browser = program.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(served: Serving, browser: "Browser") -> "Iterator[Page]":
    """The page, which must write no error and ask no other server."""
    errors: list[str] = []
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: errors.append(request.url) if served.url not in request.url else None)
    page.goto(served.url)
    yield page
    page.close()
    assert [error for error in errors if not error.startswith("blob:")] == []


def drop(page: "Page", *paths: Path) -> None:
    """Drag files or folders onto the page, as a desktop does."""
    desktop = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        desktop.send("Input.dispatchDragEvent", {"type": kind, "x": 500, "y": 400, "data": data})


@pytest.fixture
def images(nih_root: Path, tmp_path: Path) -> list[Path]:
    """A PNG, a lateral DICOM, and a folder of two images of a study and a text."""
    png = min((nih_root / "images").iterdir())
    pixels = decode(png.read_bytes(), png).astype(np.uint16) * 16
    lateral = write_dicom(tmp_path / "lateral.dcm", pixels, ViewPosition="LATERAL", Modality="CT")
    for name in ("one.dcm", "two.dcm"):
        write_dicom(tmp_path / "folder" / "below" / name, pixels, StudyInstanceUID="1.2.3")
    (tmp_path / "folder" / "notes.txt").write_text("no image")
    return [png, lateral, tmp_path / "folder"]


def shows(page: "Page", selector: str, text: str) -> None:
    """Wait until an element contains a text."""
    from playwright.sync_api import expect

    expect(page.locator(selector)).to_contain_text(text)


def centre(page: "Page") -> list[int]:
    """The colour in the middle of the radiograph as it is shown."""
    colour: list[int] = page.evaluate(
        "() => { const c = document.querySelector('#canvas');"
        "return [...c.getContext('2d').getImageData(c.width / 2, c.height / 2, 1, 1).data]; }"
    )
    return colour


def test_a_png_a_dicom_and_a_folder_are_dropped_and_all_is_read_by_keyboard(
    page: "Page", served: Serving, images: list[Path]
) -> None:
    # 1. files and a folder, as they are dropped
    drop(page, *images[:2])
    page.wait_for_selector("#list label >> nth=1")
    drop(page, images[2])
    shows(page, "#count", "5 of 5")
    texts = page.locator("#list label").all_inner_texts()
    assert [text.split("\n")[0] for text in texts] == [
        images[0].name, "lateral.dcm", "folder/below/one.dcm", "folder/below/two.dcm", "folder/notes.txt"
    ]  # fmt: skip
    assert "not a PNG" in texts[4] and "study 1" in texts[2]

    # 2. a bar for each finding, with the probability of the endpoint
    page.wait_for_selector("#scale:not([hidden])")
    answer = served.client.post("/predict", content=images[0].read_bytes()).json()["images"][0]
    bars = {
        name: float(value)
        for name, value in (text.split("\n") for text in page.locator("#bars label").all_inner_texts())
    }
    expected = {name.replace("_", " "): one["probability"] for name, one in answer["findings"].items()}
    assert bars == pytest.approx(expected, abs=0.0051)
    assert page.locator("#bars .point").count() == len(bars)
    assert "no evaluation report" in page.inner_text("#meaning")

    # 3. keys: finding, opacity, heat map, window, inverse
    chosen = page.get_attribute("#bars input:checked", "value")
    page.keyboard.press("ArrowDown")
    assert page.get_attribute("#bars input:checked", "value") != chosen
    page.keyboard.press("h")
    plain = centre(page)
    assert plain[0] == plain[1] == plain[2]
    page.keyboard.press("i")
    assert centre(page)[0] == pytest.approx(255 - plain[0], abs=2)
    page.keyboard.press("i")
    for _ in range(8):
        page.keyboard.press("Shift+ArrowUp")  # a lower level is a brighter image
    assert centre(page)[0] > plain[0]
    page.keyboard.press("r")
    assert centre(page) == plain
    page.keyboard.press("]")
    assert page.input_value("#opacity") == "60"

    # 4. keys: the next image, its warnings
    page.keyboard.press("ArrowRight")
    shows(page, "#warnings", "lateral view")
    shows(page, "#warnings", "modality CT")

    # 5. keys: the study of two images, by tabulator and space
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#study-switch:not([hidden])")
    assert "largest of 2 images" in page.inner_text("#study-switch")
    page.focus("#study")
    page.keyboard.press("Space")
    assert page.locator("#bars label").count() == len(bars)
    page.keyboard.press("?")
    assert page.is_visible("#help")
    page.keyboard.press("Escape")
    assert not page.is_visible("#help")


def test_mouse_and_sliders_move_window_zoom_and_opacity(page: "Page", images: list[Path]) -> None:
    page.set_input_files("#files", images[0])
    page.wait_for_selector("#scale:not([hidden])")
    box = page.locator("#canvas").bounding_box()
    assert box
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 50, y + 30)
    page.mouse.up()
    assert (page.input_value("#level"), page.input_value("#width")) == ("158", "205")
    page.mouse.wheel(0, -200)
    shows(page, "#shown", "165 %")

    with_heat = centre(page)
    page.fill("#opacity", "0")
    assert centre(page) != with_heat or re.search("0.0", page.inner_text("#ticks"))


def test_a_server_with_a_token_asks_for_it_once(
    served: Serving, wary: Path, browser: "Browser", images: list[Path]
) -> None:
    with serving(wary, access=Access("a-token-of-some-length"), runtime=served.runtime) as guarded:
        page = browser.new_page()
        page.goto(guarded.url)
        for token in ("wrong", "a-token-of-some-length"):
            page.wait_for_selector("#ask[open]")
            page.fill("#token", token)
            page.keyboard.press("Enter")
        shows(page, "#model", "resnet18")
        page.set_input_files("#files", images[0])
        page.wait_for_selector("#scale:not([hidden])")
        page.close()


def test_a_narrow_screen_needs_no_scrolling_to_the_side(page: "Page", images: list[Path]) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.set_input_files("#folder", images[2])
    page.wait_for_selector("#bars label")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
