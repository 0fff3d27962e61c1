"""A shared model is downloaded by its commit and checksum, whatever the server sends."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from cxr.download import fetch as fetching
from cxr.download import hub
from cxr.download.manifest import make_manifest
from cxr.errors import CxrError
from cxr.model import checkpoint as checkpoints
from cxr.model.classifier import Classifier
from cxr.model.load_weights import load_weights
from cxr.training.repeat import compare_tensors
from tests.helpers.commands import call
from tests.helpers.server import Server

COMMIT = "0123456789abcdef0123456789abcdef01234567"
BASE = f"/owner/name/resolve/{COMMIT}/"
MODEL = f"hub:owner/name@{COMMIT}"
WEIGHTS = b"weights" * 1000
REFS = {
    "tags": [{"name": "v1.0", "targetCommit": COMMIT}],
    "branches": [{"name": "wip", "targetCommit": COMMIT}],
}
DIGEST = hashlib.sha256(WEIGHTS).hexdigest()


@pytest.fixture(autouse=True)
def cache(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The empty cache folder; the hub is the local server, which serves one model."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv(hub.ENDPOINT, server.url)
    monkeypatch.delenv(hub.OFFLINE, raising=False)
    server.kind = "application/octet-stream"
    publish(server, WEIGHTS)
    return tmp_path / "cache"


def publish(server: Server, weights: bytes) -> None:
    server.files[BASE + "best.safetensors"] = weights
    server.files[BASE + "manifest.json"] = make_manifest({"best.safetensors": weights}).encode()


def error_of(model: str) -> str:
    with pytest.raises(CxrError) as error:
        hub.fetch_weights(model)
    return error.value.render()


def has_weights(cache: Path) -> bool:
    return bool(list(cache.rglob("best.safetensors"))) or hub.find(MODEL) is not None


def test_a_model_is_downloaded_once_and_then_needs_no_network(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = hub.fetch_weights(MODEL)
    assert path.read_bytes() == WEIGHTS and path.is_relative_to(cache)
    assert len(server.asked) == 2
    monkeypatch.setenv(hub.OFFLINE, "1")
    assert hub.fetch_weights(f"{MODEL}#sha256={DIGEST}") == path
    assert len(server.asked) == 2


def test_a_tag_means_the_commit_that_it_had_first(server: Server) -> None:
    refs = {
        "tags": [{"name": "v1.0", "targetCommit": COMMIT}],
        "branches": [{"name": "wip", "targetCommit": COMMIT}],
    }
    server.files["/api/models/owner/name/refs"] = json.dumps(refs).encode()
    path = hub.fetch_weights("hub:owner/name@v1.0")
    assert path == hub.fetch_weights(MODEL)
    del server.files["/api/models/owner/name/refs"]
    assert hub.fetch_weights("hub:owner/name@v1.0") == path


def test_other_revisions_are_refused(server: Server) -> None:
    refs = {
        "tags": [{"name": "v1.0", "targetCommit": COMMIT}],
        "branches": [{"name": "wip", "targetCommit": COMMIT}],
    }
    server.files["/api/models/owner/name/refs"] = json.dumps(refs).encode()
    assert "the model has no tag v2.0\nhint: its tags: v1.0" in error_of("hub:owner/name@v2.0")
    assert "wip is a branch" in error_of("hub:owner/name@wip")
    num_asked = len(server.asked)
    assert "main is a branch" in error_of("hub:owner/name@main")
    assert "names no revision" in error_of("hub:owner/name")
    assert "the checksum is not 64 digits" in error_of(f"{MODEL}#sha256=12")
    assert len(server.asked) == num_asked


@pytest.mark.parametrize(
    "model",
    [
        "hub:",
        "hub:name@v1",
        "hub:../name@v1",
        "hub:owner/..@v1",
        "hub:o--x/name@v1",
        "hub:owner/name/more@v1",
        "hub:owner/name@../../etc",
        "hub:owner/name@a/b",
        "hub:owner/name@v1?x=1",
        "hub:ow ner/name@v1",
        "hub:owner/na\nme@v1",
        "hub:owner/[red]name@v1",
        "hub:owner/name@v1\x1b[2J",
        "hub:" + "a" * 10_000 + "/b@v1",
    ],
)
def test_hostile_names_ask_for_nothing(model: str, server: Server, cache: Path) -> None:
    text = error_of(model)
    assert "\nhint: give hub:OWNER/NAME@REVISION" in text and "\x1b" not in text and len(text) < 1000
    assert not server.asked and not cache.exists()


def test_weights_of_another_checksum_are_not_kept(server: Server, cache: Path) -> None:
    server.files[BASE + "best.safetensors"] = WEIGHTS[:-1] + b"!"
    assert "SHA-256 checksum" in error_of(MODEL)
    assert not has_weights(cache)


def test_a_checksum_from_elsewhere_is_compared_before_the_download(server: Server, cache: Path) -> None:
    text = error_of(f"{MODEL}#sha256={'0' * 64}")
    assert f"has the SHA-256 {DIGEST}" in text and "another file than the one that was meant" in text
    assert [path for path, _, _ in server.asked] == [BASE + "manifest.json"]
    assert not has_weights(cache)


def test_a_file_larger_than_stated_is_refused(server: Server, cache: Path) -> None:
    server.files[BASE + "best.safetensors"] = WEIGHTS * 2
    assert f"and {len(WEIGHTS):,} are published" in error_of(MODEL)
    assert not has_weights(cache)


def test_a_manifest_that_never_ends_is_cut_off(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "_MAX_TEXT", 1000)
    server.files[BASE + "manifest.json"] = b" " * 5000
    assert "sends more than 1,000 bytes" in error_of(MODEL)


HUGE = '{"files": {"best.safetensors": {"bytes": 99999999999999, "sha256": "0"}}}'


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '{"format": 2, "files": {}}', "\xff", HUGE])
def test_a_garbled_manifest_is_refused(text: str, server: Server) -> None:
    server.files[BASE + "manifest.json"] = text.encode("latin-1")
    assert "manifest.json" in error_of(MODEL)


def test_a_manifest_without_weights_is_refused(server: Server) -> None:
    server.files[BASE + "manifest.json"] = make_manifest({"../best.safetensors": b"x"}).encode()
    assert "names no best.safetensors" in error_of(MODEL)


def test_what_is_not_there_is_named_with_a_hint(server: Server) -> None:
    text = error_of(f"hub:owner/other@{COMMIT}")
    assert f"hub:owner/other@{COMMIT}: {server.url}/owner/other" in text
    assert "answers 404" in text and "hint: is the name right, is the model public" in text


def test_a_cut_download_is_continued_and_one_that_stays_cut_is_not_taken(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.cuts = [None, 3000]
    assert hub.fetch_weights(MODEL).read_bytes() == WEIGHTS
    assert server.asked[-1][1] == "bytes=3000-"
    shutil.rmtree(cache)
    monkeypatch.setattr(fetching, "WAITS", ())
    server.cuts = [None, 3000]
    assert "the connection was cut" in error_of(MODEL)
    assert not has_weights(cache)


def test_a_redirect_is_followed_to_this_machine_and_not_to_another_without_tls(server: Server) -> None:
    server.files["/store/1"] = server.files.pop(BASE + "best.safetensors")
    server.redirects[BASE + "best.safetensors"] = "http://example.org/1"
    assert "leads to http://example.org/1, which is not https" in error_of(MODEL)
    server.redirects[BASE + "best.safetensors"] = server.url + "/store/1"
    assert hub.fetch_weights(MODEL).read_bytes() == WEIGHTS


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [("http://example.org", "not https"), ("file:///etc", "is no address"), ("https://a b", "is no address")],
)
def test_another_server_needs_tls(endpoint: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(hub.ENDPOINT, endpoint)
    assert said in error_of(MODEL)


def test_without_a_network_nothing_else_is_taken(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(hub.OFFLINE, "1")
    assert "HF_HUB_OFFLINE forbids to download it" in error_of(MODEL)
    monkeypatch.delenv(hub.OFFLINE)
    monkeypatch.setenv(hub.ENDPOINT, "http://127.0.0.1:9")
    text = error_of(MODEL)
    assert "no connection" in text and "or download its files elsewhere, and give the folder" in text
    assert not server.asked and not has_weights(cache)


def test_damage_in_the_cache_folder_is_seen(server: Server) -> None:
    path = hub.fetch_weights(MODEL)
    path.write_bytes(WEIGHTS[:-1] + b"!")
    assert "delete it; the command then downloads it again" in error_of(MODEL)


def test_predict_eval_and_train_take_a_shared_model(
    run: Path, recipe: Path, nih_root: Path, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert call("card", run, "--out", tmp_path / "card") == 0
    publish(server, (tmp_path / "card" / "best.safetensors").read_bytes())
    digest = hashlib.sha256(server.files[BASE + "best.safetensors"]).hexdigest()
    pinned = f"{MODEL}#sha256={digest}"
    image = next((nih_root / "images").iterdir())
    probabilities = []
    for model in (run, pinned):
        capsys.readouterr()
        assert call("predict", model, image, "--format", "csv") == 0
        probabilities.append(capsys.readouterr().out)
    assert probabilities[0] == probabilities[1]

    overrides = [f"data.root={nih_root}", f"store.path={nih_root.parent / 'store'}", "eval.interval=none"]
    assert call("eval", pinned, *overrides, "--examples", "0") == 0
    said = capsys.readouterr()
    assert f"report: runs/hub_owner_name_{COMMIT}/eval_test/report.html" in said.out
    assert "the leak check is off: this is a copy for others" in said.err

    classifier = Classifier("resnet18", 2)
    assert str(load_weights(classifier, pinned, ("Mass", "Nodule"))).startswith(f"weights {pinned}: ")
    states = [model.backbone.state_dict() for model in (classifier, checkpoints.load(run).classifier)]
    assert compare_tensors("", *states).is_equal
    assert call("train", recipe, f"out={tmp_path / 'other'}", f"model.weights={MODEL}#sha256={'0' * 64}") == 2
    assert "another file than the one that was meant" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()
