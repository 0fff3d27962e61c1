"""The metadata of an exported file, and its checksum."""

import json
import subprocess
import sys

import pytest

from cxr.deploy import onnx_format
from cxr.deploy.onnx_format import (
    ExportMetadata,
    Licence,
    Parity,
    Points,
    Split,
    Training,
    from_json,
    is_intact,
    seal,
)
from cxr.images.prepare import Preprocess


@pytest.fixture(scope="module")
def metadata() -> ExportMetadata:
    return ExportMetadata(
        cxr="1.0", run="first", use="research", licence=Licence(code="Apache-2.0", weights=""), precision="fp32",
        opset=18, backbone="resnet18", findings=("Mass", "Ödem"), outputs=onnx_format.output_names(False, False),
        preprocess=Preprocess(64), image_size=32, before_input=("decode",), tta="none", unit="image",
        combine="max", views=("PA", "AP"), bias=(0.25, -1.0), logit_shift=(0.0, 0.5), calibration=None,
        ood=None, cost=None, left_out="hashes",
        thresholds=Points(values=(0.5, 0.25), rule="f1", chosen_on="validation rows (9 images)", num_positive=(3, 4)),
        split=Split(kind="official", name="NIH", hashes={"val": "ab"}, num_images={"val": 9}),
        training=Training(cxr=True, dataset=("nih",), initial_weights="none", epoch=1, step=2,
                          validation={"auroc": None}, versions={}, checkpoint="", checkpoint_sha256=""),
        parity=Parity(images="8", num_images=8, differences={"logit": 1e-6}, resize_levels=1, resize_probability=0.0),
    )  # fmt: skip


def test_metadata_come_back_as_they_were(metadata: ExportMetadata) -> None:
    assert from_json(metadata.to_json()) == metadata


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("format", 2, "format 2, and this version of cxr reads format 1"),
        ("format", True, "no number of a format"),
        ("findings", ["Mass"], "there are 1 findings"),
        ("findings", ["Mass", "Mass"], "a name is there twice"),
        ("findings", "Mass", "findings"),
        ("bias", [1.0], "bias has 1"),
        ("outputs", ["logit"], "outputs are logit"),
        ("image_size", "32", "image_size"),
        ("image_size", 31, "image_size: Input should be greater than or equal to 32"),
        ("image_size", 10**9, "image_size: Input should be less than or equal to 4096"),
        ("preprocess", {"size": 15}, "preprocess.size: is 15, not between 16 and 4096"),
        ("preprocess", {"size": 10**9}, "preprocess.size: is 1000000000, not between 16 and 4096"),
        ("preprocess", {"size": -1}, "preprocess.size"),
        ("findings", ["Mass", ""], "findings.1: String should have at least 1 character"),
        ("surprise", 1, "surprise: Extra inputs"),
        ("preprocess", {"size": 64, "fit": "bend"}, "preprocess.fit"),
    ],
)
def test_other_metadata_are_refused_by_name(
    metadata: ExportMetadata, key: str, value: object, said: str
) -> None:
    content = json.loads(metadata.to_json()) | {key: value}
    with pytest.raises(ValueError, match=said):
        from_json(json.dumps(content))


def test_a_file_without_a_checksum_states_none(metadata: ExportMetadata) -> None:
    text = metadata.to_json(has_checksum=False)
    assert json.loads(text) == {
        key: value for key, value in json.loads(metadata.to_json()).items() if key != "sha256"
    }
    assert from_json(text) == metadata


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000])
def test_a_text_that_is_no_metadata_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="its metadata"):
        from_json(text)


def test_a_changed_byte_is_found_with_the_bytes_alone(metadata: ExportMetadata) -> None:
    data = seal(b"weights" + metadata.to_json().encode() + b"more")
    digest = from_json(data[7:-4].decode()).sha256
    assert is_intact(data, digest)
    assert not is_intact(data.replace(b"weights", b"weighty"), digest)
    assert not is_intact(data + digest.encode(), digest)


def test_the_format_imports_no_torch() -> None:
    code = "import sys, cxr.deploy.onnx_format; print({'torch', 'onnx', 'onnxruntime'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
