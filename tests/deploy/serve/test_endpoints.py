"""What the endpoints answer: the numbers of `cxr predict`, studies, maps, and what is known of the model."""

import io
import re
import runpy
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from cxr.deploy.predict_files import Input, try_to_read
from cxr.deploy.runtime import Square, predict_batch
from cxr.deploy.serve.evaluated import read_evaluation
from cxr.images.read import decode
from cxr.model import checkpoint as checkpoints
from tests.helpers.commands import call, read_csv
from tests.helpers.dicoms import make_dicom, to_bytes
from tests.helpers.serving import Serving

HOME = Path(__file__).parents[3]


def dicom(png: bytes, **elements: Any) -> bytes:  # noqa: ANN401 - values of DICOM are of any type
    return to_bytes(make_dicom(decode(png, "a").astype(np.uint16) * 16, **elements))


def probabilities(answer: dict[str, dict[str, dict[str, float]]]) -> list[float]:
    return [finding["probability"] for finding in answer["findings"].values()]


def test_probabilities_and_thresholds_are_those_of_predict(served: Serving, nih_root: Path) -> None:
    path = min((nih_root / "images").iterdir())
    square = try_to_read(Input(path, "image"), served.facts.preprocess)
    assert isinstance(square, Square)
    expected = predict_batch(served.runtime, [square])[0]
    answer = served.client.post("/predict", content=path.read_bytes()).json()["images"][0]
    assert probabilities(answer) == pytest.approx(expected.probabilities, abs=1e-6)
    thresholds = tuple(finding["threshold"] for finding in answer["findings"].values())
    assert thresholds == served.facts.thresholds.values
    assert answer["out_of_distribution"]["score"] == pytest.approx(expected.score, abs=1e-4)


def test_a_form_is_answered_in_its_order_and_a_damaged_image_stops_no_other(
    served: Serving, png: bytes
) -> None:
    files = [("files", data) for data in (b"no image", png, png[:100])]
    images = served.client.post("/predict", files=files).json()["images"]
    assert [image["index"] for image in images] == [0, 1, 2]
    assert [image["error"] for image in images] == [
        "not a PNG, JPEG, TIFF or DICOM image", "", "image file is truncated (100 bytes)"
    ]  # fmt: skip


def test_every_file_of_a_form_has_its_place_and_other_fields_have_none(served: Serving, png: bytes) -> None:
    expected = probabilities(served.client.post("/predict", content=png).json()["images"][0])
    files = [
        ("files", ("a.png", b"")),
        ("files", ("b.png", png)),
        ("files", ("c", b"")),
    ]
    images = served.client.post("/predict", files=files, data={"note": "text", "x": ""}).json()["images"]
    assert [image["index"] for image in images] == [0, 1, 2]
    empty = "file is empty (0 bytes)"
    assert [image["error"] for image in images] == [empty, "", empty]
    assert probabilities(images[1]) == expected
    unnamed = b"--x\r\ncontent-disposition: form-data; name=f\r\nCONTENT-TYPE: image/png\r\n\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = served.client.post("/predict", content=unnamed + png + b"\r\n--x--\r\n", headers=headers)
    assert probabilities(answer.json()["images"][0]) == expected


@pytest.mark.parametrize("files", [[("files", ("a.png", b""))], [("note", (None, b"text"))]])
def test_a_form_without_an_image_is_refused(served: Serving, files: Any) -> None:  # noqa: ANN401 - as httpx has it
    answer = served.client.post("/predict", files=files)
    assert (answer.status_code, answer.json()["error"]) == (400, "the request holds no image")


@pytest.mark.parametrize("path", ["/explain", "/explain?format=png&finding=Mass", "/render"])
def test_an_endpoint_of_one_image_refuses_two(served: Serving, png: bytes, path: str) -> None:
    answer = served.client.post(path, files=[("files", png)] * 2)
    assert answer.status_code == 400
    assert answer.json()["error"] == "the request holds 2 files, and this endpoint takes one"
    assert served.client.post(path, files=[("files", png)]).status_code == 200


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/model"])
def test_head_is_answered_as_get_without_its_body(served: Serving, path: str) -> None:
    got, head = served.client.get(path), served.client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert [head.headers[name] for name in ("content-type", "content-length")] == [
        got.headers[name] for name in ("content-type", "content-length")
    ]


def test_a_method_that_is_not_allowed_is_answered_with_those_that_are(served: Serving) -> None:
    answers = served.client.post("/model"), served.client.get("/predict"), served.client.head("/predict")
    assert [answer.status_code for answer in answers] == [405] * 3
    assert [answer.headers["allow"] for answer in answers] == ["GET, HEAD", "POST", "POST"]


def test_images_of_a_dicom_study_have_one_answer_by_the_rule(served: Serving, png: bytes) -> None:
    upside_down = dicom(cv2.imencode(".png", decode(png, "a")[::-1])[1].tobytes(), StudyInstanceUID="1.2")
    files = [("files", data) for data in (dicom(png, StudyInstanceUID="1.2"), png, upside_down)]
    answer = served.client.post("/predict", files=files).json()
    (study,) = answer["studies"]
    assert study["images"] == [0, 2] and "1.2" not in study["study"]
    rows = [probabilities(answer["images"][index]) for index in (0, 2)]
    assert probabilities(study) == np.max(rows, axis=0).tolist()
    together = served.client.post("/predict?together=true", files=[("files", png), ("files", png)]).json()
    assert [study["images"] for study in together["studies"]] == [[0, 1]]


def test_view_and_modality_of_a_dicom_file_are_warned_of_and_its_patient_is_not_named(
    served: Serving, png: bytes
) -> None:
    answer = served.client.post("/predict", content=dicom(png, ViewPosition="LL", Modality="CT"))
    image = answer.json()["images"][0]
    assert image["view"] == "lateral"
    warnings = " ".join(image["warnings"])
    assert "lateral view" in warnings and "modality CT" in warnings
    assert "SECRET" not in answer.text


def test_the_mean_of_a_map_and_the_bias_make_the_probability(served: Serving, wary: Path, png: bytes) -> None:
    answer = served.client.post("/explain", content=png).json()
    classifier = checkpoints.load(wary).classifier
    means = np.array([np.mean(one) for one in answer["maps"].values()])
    logits = means + (classifier.head.bias + classifier.logit_shift).detach().numpy()
    assert 1 / (1 + np.exp(-logits)) == pytest.approx(np.array(probabilities(answer["image"])), abs=1e-4)


def test_the_place_of_a_map_is_the_square_around_a_padded_image(served: Serving) -> None:
    wide = cv2.imencode(".png", np.random.default_rng(0).integers(0, 255, (30, 50), np.uint8))[1].tobytes()
    place = served.client.post("/explain", content=wide).json()["place"]
    assert place == {"x": 0, "y": -10, "width": 50, "height": 50}


def test_a_map_as_png_is_as_large_as_its_image_and_is_no_radiograph(served: Serving, png: bytes) -> None:
    finding = served.facts.findings[3].lower()
    answer = served.client.post(f"/explain?format=png&finding={finding}", content=png)
    with Image.open(io.BytesIO(answer.content)) as drawn, Image.open(io.BytesIO(png)) as image:
        assert drawn.size == image.size and drawn.mode == "RGB"
    again = served.client.post("/predict", content=answer.content).json()["images"][0]
    assert again["error"].startswith("an overlay that cxr drew")
    unknown = served.client.post("/explain?format=png&finding=Gout", content=png)
    assert unknown.status_code == 422 and "Atelectasis" in unknown.json()["hint"]


def test_render_gives_the_grey_pixels_that_the_model_reads(served: Serving, png: bytes) -> None:
    answer = served.client.post("/render", content=dicom(png))
    with Image.open(io.BytesIO(answer.content)) as drawn:
        assert np.array_equal(np.asarray(drawn), decode(dicom(png), "a"))
    assert served.client.post("/render", content=b"text").status_code == 422


def test_the_model_says_what_it_is_and_that_no_report_is_there(served: Serving) -> None:
    model = served.client.get("/model").json()
    assert [finding["name"] for finding in model["findings"]] == list(served.facts.findings)
    assert model["sha256"] == served.facts.sha256 and "not a medical device" in model["disclaimer"]
    assert "no evaluation report" in model["evaluation"]["missing"]


def test_operating_points_have_the_metrics_that_eval_wrote(
    run: Path, served: Serving, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "run"
    copy.mkdir()
    shutil.copy(run / "best.safetensors", copy)
    assert call("eval", copy, "eval.draws=100", "--examples", "0") == 0
    facts = checkpoints.load(copy)
    from cxr.deploy.torch_runtime import make_runtime

    found = read_evaluation(copy, make_runtime(copy, facts).facts)
    rows = {row["finding"]: row for row in read_csv(copy / "eval_test" / "metrics.csv")}
    assert found.findings and "test rows (7 images" in found.rows
    for name, evaluated in found.findings.items():
        assert evaluated.sensitivity.value == pytest.approx(float(rows[name]["sensitivity"]))
        assert evaluated.num_positive == int(rows[name]["num_positive"])
    # the report of one checkpoint says nothing of another
    assert "another checkpoint" in read_evaluation(copy, served.facts).missing
    (copy / "eval_test" / "report.json").write_text("{")
    assert "cannot be read" in read_evaluation(copy, served.facts).missing


def test_the_description_names_every_endpoint_and_no_other_server(served: Serving) -> None:
    described = served.client.get("/openapi.json").json()
    assert set(described["paths"]) == {
        "/predict", "/explain", "/render", "/model", "/healthz", "/readyz", "/metrics"
    }  # fmt: skip
    assert "multipart/form-data" in described["paths"]["/predict"]["post"]["requestBody"]["content"]
    for path, methods in described["paths"].items():
        (operation,) = methods.values()
        may_be = {"401", "421", "503"} - ({"401"} if path in ("/healthz", "/readyz") else set())
        assert {"401", "421", "503"} & operation["responses"].keys() == may_be


def test_the_page_and_its_files_name_no_other_server(served: Serving) -> None:
    page = served.client.get("/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "http" not in policy and "unsafe" not in policy
    for path in re.findall(r'(?:src|href)="(/[^"]+)"', page.text):
        file = served.client.get(path)
        assert file.status_code == 200
        assert "://" not in file.text.replace("http://www.w3.org/2000/svg", ""), path
    assert served.client.get("/page/..%2f..%2fapp.py").status_code == 404


def test_numbers_are_counted_in_the_form_of_prometheus(served: Serving, png: bytes) -> None:
    served.client.post("/predict", content=png)
    text = served.client.get("/metrics").text
    for line in text.splitlines():
        assert re.fullmatch(r"# TYPE \w+ (counter|gauge|histogram)|\w+(\{[^}]*\})? [0-9.e+-]+", line), line
    counted = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(counted["cxr_images_total"]) >= 1 and counted["cxr_uploads_held"] == "0"
    assert served.client.get("/readyz").json() == {"status": "ready"}


def test_the_client_of_the_documents_has_the_answers_of_the_server(
    served: Serving, nih_root: Path, tmp_path: Path
) -> None:
    path = HOME / "docs" / "serve_client.py"
    assert path.read_text().strip() in (HOME / "docs" / "serve.md").read_text()
    client = runpy.run_path(str(path))
    image = min((nih_root / "images").iterdir())
    found = client["predict"](served.client, image)
    expected = served.client.post("/predict", content=image.read_bytes()).json()["images"][0]["findings"]
    assert found == expected
    (tmp_path / "a.png").write_bytes(b"text")
    with pytest.raises(ValueError, match="not a PNG"):
        client["predict"](served.client, tmp_path / "a.png")
