from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.signal import correlate2d
from sklearn.decomposition import PCA
from torch import nn

from cxr.errors import CxrError
from cxr.explain.embedding import check_umap, embed_pca, embed_umap
from cxr.explain.inspect import _find_channels
from cxr.explain.inspect_figures import mosaic
from cxr.explain.layers import activations, check_layers, default_layers, first_filters, most_active
from cxr.explain.sample import Sample
from cxr.model.classifier import Classifier
from tests.helpers.models import grey


def network(backbone: str = "resnet18") -> Classifier:
    torch.manual_seed(0)
    return Classifier(backbone, 3).eval()


@pytest.mark.parametrize("stem", ["rgb", "grey"])
def test_filters_are_what_the_first_layer_does_to_a_grey_image(stem: str) -> None:
    classifier = network()
    if stem == "grey":
        classifier.fold_stem()
    image, convolution = grey(32)[:1], classifier.backbone.conv1
    assert isinstance(convolution, nn.Conv2d)
    with torch.inference_mode():
        out = convolution(classifier.normalise(image)) - convolution(
            classifier.normalise(torch.zeros_like(image))
        )
    filters = first_filters(classifier)
    assert filters.shape == (64, 7, 7)
    # away from the border, at every second pixel
    expected = correlate2d(image[0, 0].numpy(), filters[5], mode="valid")[1::2, 1::2]
    np.testing.assert_allclose(out[0, 5, 2:14, 2:14].numpy(), expected[:12, :12], atol=1e-3)


@pytest.mark.parametrize("backbone", ["resnet18", "densenet121"])
def test_activations_of_the_last_block_make_the_logits(backbone: str) -> None:
    classifier = network(backbone)
    names = default_layers(classifier)
    check_layers(classifier, names)
    image = grey(64)[:1]
    found = activations(classifier, image, names)
    assert [maps.shape[1] for maps in found.values()] == [32, 16, 8, 4, 2]
    with torch.inference_mode():
        last = classifier.feature_map(image)[0].numpy()
    if backbone == "resnet18":
        np.testing.assert_allclose(found["layer4"], last, rtol=1e-5)
    assert not any(part._forward_hooks for part in classifier.backbone.modules())


def test_layers_that_are_not_there_are_named() -> None:
    classifier = network()
    with pytest.raises(CxrError, match="--layers layer9: no such layer of resnet18"):
        check_layers(classifier, ["layer1", "layer9"])


def test_the_most_active_channels_come_first_and_lie_side_by_side() -> None:
    maps = np.stack([np.full((2, 2), value, np.float32) for value in (1, 5, 3)])
    assert most_active(maps, 2) == [1, 2]
    shown = mosaic(maps, num_columns=2)
    assert shown.shape == (5, 5) and shown[0, 0] == 1 and shown[0, 3] == 5 and shown[3, 0] == 3
    assert np.isnan(shown[2]).all() and np.isnan(shown[:, 2]).all() and np.isnan(shown[3:, 3:]).all()


@pytest.mark.parametrize("shape", [(50, 8), (6, 40)])
def test_the_embedding_is_scikit_learns_pca(shape: tuple[int, int]) -> None:
    features = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    places, shares = embed_pca(features)
    reference = PCA(2, svd_solver="full").fit(features.astype(np.float64))
    expected = reference.transform(features.astype(np.float64))
    signs = np.sign((places * expected).sum(axis=0))
    np.testing.assert_allclose(places * signs, expected, atol=1e-8)
    np.testing.assert_allclose(shares, reference.explained_variance_ratio_)


@pytest.mark.parametrize("features", [np.ones((1, 4)), np.ones((9, 4)), np.zeros((3, 1))])
def test_images_that_do_not_differ_lie_in_one_place(
    features: "np.ndarray[tuple[int, int], np.dtype[np.float64]]",
) -> None:
    places, shares = embed_pca(features.astype(np.float32))
    assert places.shape == (len(features), 2) and not places.any() and not shares.any()


def test_umap_without_the_package_is_an_error_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cxr.explain.embedding.find_spec", lambda name: None)
    with pytest.raises(CxrError, match="umap-learn is not installed") as raised:
        check_umap()
    assert "cxr[umap]" in raised.value.hint


def test_umap_of_few_images_is_an_error() -> None:
    with pytest.raises(CxrError, match="15 images are too few"):
        embed_umap(np.zeros((15, 4), np.float32))


def test_umap_keeps_groups_apart() -> None:
    pytest.importorskip("umap", reason="umap-learn is not installed: pip install 'cxr[umap]'")
    features = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    features[:30] += 30
    places = embed_umap(features)
    middles = places[:30].mean(axis=0), places[30:].mean(axis=0)
    assert np.linalg.norm(middles[0] - middles[1]) > 3 * places[:30].std()


def test_a_channel_is_shown_with_the_images_that_activate_it_most(make_sample: Callable[..., Sample]) -> None:
    sample = make_sample()
    bright = np.log(
        sample.predictions.p / (1 - sample.predictions.p)
    )  # grows with the brightness that is read
    pooled = np.pad(bright, ((0, 0), (0, 510))).astype(np.float32)
    effusion, mass = _find_channels(sample, pooled)
    assert (effusion.finding, effusion.number, mass.number) == ("Effusion", 0, 1)
    assert effusion.spread == pytest.approx(pooled[:, 0].std() / 32, rel=1e-5)
    rows = sample.predictions.rows.assign(value=bright[:, 0]).sort_values("value", ascending=False)
    expected = rows.drop_duplicates("patient_id")["image"].tolist()[:4]
    assert [thumbnail.name for thumbnail in effusion.thumbnails] == expected


def test_images_without_a_patient_are_each_shown(make_sample: Callable[..., Sample]) -> None:
    sample = make_sample()
    table = sample.candidate.dataset.table
    names = table.rows.assign(patient_id=table.rows["image"])  # as tables without patients are read
    dataset = replace(sample.candidate.dataset, table=replace(table, rows=names, names_patients=False))
    candidate = replace(sample.candidate, dataset=dataset)
    rows = sample.predictions.rows.assign(patient_id="")
    nameless = replace(sample, candidate=candidate, predictions=replace(sample.predictions, rows=rows))
    pooled = np.pad(sample.predictions.p, ((0, 0), (0, 510))).astype(np.float32)
    first = _find_channels(nameless, pooled)[0].thumbnails
    highest = np.argsort(-sample.predictions.p[:, 0], kind="stable")[:4]
    assert [thumbnail.name for thumbnail in first] == sample.predictions.rows["image"].iloc[highest].tolist()
