"""Asks `cxr serve` about image files: `python docs/serve_client.py chest.png study/*.dcm`."""

import sys
import time
from pathlib import Path
from typing import TypedDict

import httpx


class Finding(TypedDict):
    """One finding of an image."""

    probability: float
    threshold: float
    called: bool


def predict(client: httpx.Client, image: Path) -> dict[str, Finding]:
    """The findings of an image; asked again while the server is busy."""
    while (answer := client.post("/predict", content=image.read_bytes())).status_code == 503:
        time.sleep(float(answer.headers["Retry-After"]))
    answer.raise_for_status()
    (found,) = answer.json()["images"]
    if found["error"]:
        raise ValueError(f"{image}: {found['error']}")
    findings: dict[str, Finding] = found["findings"]
    return findings


if __name__ == "__main__":
    with httpx.Client(base_url="http://127.0.0.1:8000", timeout=60) as client:
        for name in sys.argv[1:]:
            called = [finding for finding, one in predict(client, Path(name)).items() if one["called"]]
            print(name, ", ".join(called) or "none above its operating point", sep=": ")
