import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cxr.arrays import Float32
from cxr.explain.maps import METHODS, Method, compute_maps, randomise
from cxr.images.prepare import Fit, Preprocess, prepare, undo_prepare
from cxr.model.classifier import Classifier

BACKBONES = ["densenet121", "densenet169", "densenet201", "resnet18", "resnet34", "resnet50", "resnet101"]

QUICK = [method for method in METHODS if method != "integrated"]


def squares(size: int = 64) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (2, size, size), dtype=torch.uint8, generator=generator)


def network(backbone: str = "resnet18", num_findings: int = 3) -> Classifier:
    torch.manual_seed(0)
    return Classifier(backbone, num_findings).eval()


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_mean_of_cam_plus_the_bias_is_the_logit(backbone: str) -> None:
    classifier = network(backbone)
    maps = compute_maps(classifier, squares(), 64, "cam")
    with torch.inference_mode():
        logits = classifier(squares()[:, None].float()).numpy()
    bias = classifier.head.bias.detach().numpy()
    np.testing.assert_allclose(maps.mean(axis=(2, 3)) + bias, logits, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("backbone", ["densenet121", "resnet18"])
def test_gradcam_is_cam_up_to_its_positive_part_and_scale(backbone: str) -> None:
    classifier = network(backbone)
    cam, gradcam = (compute_maps(classifier, squares(96), 96, method) for method in ("cam", "gradcam"))
    num_cells = cam.shape[2] * cam.shape[3]
    assert (cam > 0).any() and (cam < 0).any()
    np.testing.assert_allclose(gradcam, np.maximum(cam, 0) / num_cells, atol=1e-5 * np.abs(cam).max())


def test_gradcam_plus_plus_is_its_formula() -> None:
    classifier = network()
    maps = compute_maps(classifier, squares(96), 96, "gradcam++")
    with torch.inference_mode():
        features = classifier.feature_map(squares(96)[:, None].float()).double().numpy()
    # of a head after global average pooling the gradient of a logit is weight / cells, the same at each place
    gradient = classifier.head.weight.detach().double().numpy() / 9
    for image in range(2):
        for finding in range(3):
            expected = np.zeros((3, 3))
            for channel, slope in enumerate(gradient[finding]):
                alpha = slope**2 / (2 * slope**2 + features[image, channel].sum() * slope**3)
                expected += 9 * alpha * max(slope, 0) * features[image, channel]
            np.testing.assert_allclose(maps[image, finding], np.maximum(expected, 0), rtol=1e-3, atol=1e-6)


class Window(nn.Module):
    """Features that are the brightness: one channel of 16 x 16 cells."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool2d(images[:, :1], images.shape[-1] // 16).relu()


def brightness() -> Classifier:
    """A network whose finding is the mean brightness of the image."""
    classifier = network(num_findings=1)
    classifier.backbone = nn.Sequential(Window())
    classifier.head = nn.Linear(1, 1)
    nn.init.constant_(classifier.head.weight, 5.0)
    nn.init.constant_(classifier.head.bias, 0.0)
    return classifier.eval()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("fit", ["pad", "squash", "crop"])
@pytest.mark.parametrize(("shape", "row", "column"), [((300, 200), 180, 90), ((200, 300), 60, 170)])
def test_a_map_lands_on_a_known_box_at_the_images_pixels(
    method: Method, fit: Fit, shape: tuple[int, int], row: int, column: int
) -> None:
    grey = np.full(shape, 40, np.uint8)
    grey[row : row + 24, column : column + 24] = 250
    preprocess = Preprocess(64, fit)
    square = torch.from_numpy(prepare(grey, preprocess))[None]
    values = undo_prepare(compute_maps(brightness(), square, 64, method)[0, 0], grey, preprocess)
    assert values.shape == shape
    where = np.argwhere(values > 0.9 * values.max()).mean(axis=0)
    np.testing.assert_allclose(where, (row + 12, column + 12), atol=14)


def test_occlusion_is_the_probability_that_a_grey_square_takes() -> None:
    classifier, images = network(), squares(32)
    maps = compute_maps(classifier, images, 32, "occlusion")
    assert maps.shape == (2, 3, 12, 12)
    hidden = images[:, None].float().clone()
    hidden[:, :, 11:19, 24:32] = images.float().mean(dim=(1, 2))[
        :, None, None, None
    ]  # places 4 to 6, 9 to 11
    with torch.inference_mode():
        before, after = (classifier.probabilities(classifier(x)) for x in (images[:, None].float(), hidden))
    np.testing.assert_allclose(maps[:, :, 5, 10], (before - after).numpy(), atol=1e-6)


@pytest.mark.parametrize("method", QUICK)
def test_a_map_does_not_depend_on_the_other_images_of_its_batch(method: Method) -> None:
    classifier, images = network(), squares(32)
    both = compute_maps(classifier, images, 32, method)
    alone = compute_maps(classifier, images[1:], 32, method)
    np.testing.assert_allclose(both[1:], alone, atol=1e-5 * max(1.0, float(np.abs(both).max())))


@pytest.mark.parametrize("method", METHODS)
def test_a_constant_image_has_finite_maps(method: Method) -> None:
    for level in (0, 128, 255):
        maps: Float32 = compute_maps(network(), torch.full((1, 32, 32), level, dtype=torch.uint8), 32, method)
        assert np.isfinite(maps).all()


def test_random_weights_are_those_of_the_same_network_and_seed() -> None:
    trained = network()
    first, again = randomise(trained, seed=1), randomise(trained, seed=1)
    for name, tensor in first.state_dict().items():
        torch.testing.assert_close(tensor, again.state_dict()[name])
    assert not torch.equal(first.head.weight, trained.head.weight)
    assert (first.name, first.stem, first.training) == (trained.name, trained.stem, False)


def test_occlusion_is_that_of_captum() -> None:
    captum = pytest.importorskip("captum.attr", reason="captum is not installed: pip install 'cxr[explain]'")
    classifier, images = network(), squares(24)[:1]  # each of the 12 places is 2 pixels wide
    maps = compute_maps(classifier, images, 24, "occlusion")
    occlusion = captum.Occlusion(lambda x: classifier.probabilities(classifier(x)))
    fill = float(images.float().mean())
    theirs = occlusion.attribute(
        images[:, None].float(), (1, 6, 6), strides=(1, 2, 2), baselines=fill, target=0
    )
    # captum spreads each patch over its pixels and takes the mean where patches meet
    summed, num = np.zeros((24, 24)), np.zeros((24, 24))
    for row in range(1, 11):
        for column in range(1, 11):
            part = slice(2 * row - 2, 2 * row + 4), slice(2 * column - 2, 2 * column + 4)
            summed[part] += maps[0, 0, row, column]
            num[part] += 1
    np.testing.assert_allclose(theirs[0, 0].detach().numpy(), summed / num, atol=1e-5)
