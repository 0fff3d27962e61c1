"""Checkpoints by what they hold: any prefix, any wrapper, twins, heads, and every tensor in the account."""

import copy
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torchvision.models import get_model

from cxr.config.schema import Model
from cxr.errors import CxrError
from cxr.findings import CHEXPERT_14, NIH_14
from cxr.model.classifier import Classifier
from cxr.model.external import open_external
from cxr.model.load_report import LoadReport
from cxr.model.load_weights import check_weights, load_weights

State = dict[str, Tensor]
TWINS = [
    ("encoder_q", "encoder_k"), ("online_network", "target_network"), ("backbone", "backbone_momentum"),
    ("base_encoder", "momentum_encoder"), ("q", "k"), ("online", "target"),
]  # fmt: skip
WORDS = st.sampled_from(
    ["module", "net", "model", "_orig_mod", "backbone", "encoder", "student", "0", "a-b", "ü", "fc"]
)


def make(backbone: str, first: float, num_classes: int = 14) -> State:
    """A state whose tensors each hold one number, so that files are small; row i of the head has bias i."""
    with torch.device("meta"):
        shapes = get_model(backbone, weights=None, num_classes=num_classes).state_dict()
    state = {name: torch.tensor(first + place / 1000).to(one.dtype).expand(one.shape)
             for place, (name, one) in enumerate(shapes.items())}  # fmt: skip
    return state | ({"fc.bias": torch.arange(float(num_classes))} if "fc.bias" in state else {})


@pytest.fixture(scope="module")
def resnet() -> State:
    return make("resnet18", 1)


@pytest.fixture(scope="module")
def other() -> State:
    """Another ResNet-18."""
    return make("resnet18", 2)


def body(state: State) -> State:
    return {name: value for name, value in state.items() if not name.startswith("fc.")}


def under(prefix: str, state: State) -> State:
    return {prefix + name: value for name, value in state.items()}


def numbered(state: State) -> State:
    """As nn.Sequential(*net.children()) names them."""
    names = ["conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool", "fc"]
    return {
        f"{names.index(name.partition('.')[0])}.{name.partition('.')[2]}": value
        for name, value in state.items()
    }


@cache
def untouched() -> Classifier:
    return Classifier("resnet18", 14)


def load(
    path: Path, content: object, head: tuple[str, ...] | None = None, choice: str = "", zipped: bool = True
) -> tuple[Classifier, LoadReport]:
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    model = copy.deepcopy(untouched())
    return model, load_weights(model, f"{path}{choice}", NIH_14, head)


def is_body_of(model: Classifier, state: State) -> bool:
    return all(torch.equal(value, state[name]) for name, value in model.backbone.state_dict().items())


def num_tensors(content: object) -> int:
    if isinstance(content, Tensor):
        return 1
    inside = (
        content.values()
        if isinstance(content, dict)
        else content
        if isinstance(content, list | tuple)
        else ()
    )
    return sum(num_tensors(one) for one in inside)


def adds_up(report: LoadReport) -> bool:
    return report.total == report.matched + report.in_head + sum(num for _, num in report.left_out)


@settings(max_examples=8, deadline=None)
@given(
    words=st.lists(WORDS, max_size=3),
    wrappers=st.lists(st.text(min_size=1, max_size=8) | st.integers(), max_size=3),
    seed=st.integers(0, 1000),
    by_number=st.booleans(),
    zipped=st.booleans(),
)
def test_any_prefix_wrapper_and_order_give_the_same_tensors(
    tmp_path_factory: pytest.TempPathFactory,
    resnet: State,
    words: list[str],
    wrappers: list[str | int],
    seed: int,
    by_number: bool,
    zipped: bool,
) -> None:
    state = under("".join(word + "." for word in words), numbered(resnet) if by_number else resnet)
    shuffled = random.Random(seed).sample(sorted(state), len(state))
    content: Any = {name: state[name] for name in shuffled}
    for key in wrappers:
        content = {
            key: content,
            "epoch": seed,
            "best": torch.tensor(0.5),
            "optimizer": {0: {"exp_avg": torch.ones(2)}},
        }
    model, report = load(tmp_path_factory.getbasetemp() / "any.pth", content, NIH_14, zipped=zipped)
    assert is_body_of(model, resnet)
    assert model.head.bias.tolist() == list(range(14))
    assert (report.matched, report.in_head, report.total) == (120, 2, num_tensors(content))
    assert adds_up(report)


@settings(max_examples=6, deadline=None)
@given(
    pair=st.sampled_from(TWINS), before=st.sampled_from(["", "module.", "state_dict."]),
    below=st.sampled_from(["", "encoder.", "0."]),
    twin_first=st.booleans(),
)  # fmt: skip
def test_of_momentum_twins_the_one_that_learns_is_taken_and_the_other_said(
    tmp_path_factory: pytest.TempPathFactory, resnet: State, other: State, pair: tuple[str, str], before: str,
    below: str, twin_first: bool,
) -> None:  # fmt: skip
    own, twin = (f"{before}{name}.{below}" for name in pair)
    both = [under(own, resnet), under(twin, other)]
    content = {**both[twin_first], **both[not twin_first], f"{before}queue": torch.zeros(3, 4)}
    path = tmp_path_factory.getbasetemp() / "twins.pth"
    model, report = load(path, content, NIH_14)
    assert is_body_of(model, resnet) and model.head.bias.tolist() == list(range(14))
    assert dict(report.left_out)["momentum twin"] == 122 and adds_up(report)
    assert f"{twin.rstrip('.')} takes the other" in str(report)
    assert is_body_of(load(path, content, choice=f"#{before}{pair[1]}")[0], other)


@pytest.mark.parametrize(
    "names",
    [("model", "model_ema"), ("state_dict", "ema_state_dict"), ("student.backbone", "teacher.backbone"),
     ("", "ema"), ("frontal", "lateral"), ("state_dict", "best_state_dict"), ("nets.0", "nets.1")],
)  # fmt: skip
def test_networks_that_cannot_be_told_apart_are_refused_until_one_is_named(
    names: tuple[str, str], resnet: State, other: State, tmp_path: Path
) -> None:
    first, second = (f"{name}." if name else "" for name in names)
    content = {**under(first, resnet), **under(second, other)}
    with pytest.raises(
        CxrError, match=f"holds 2 networks that differ: {names[0] or '.'}, {names[1]}"
    ) as error:
        load(tmp_path / "m.pth", content)
    assert error.value.hint == f"say which, such as {tmp_path}/m.pth#{names[0] or '.'}"
    assert is_body_of(load(tmp_path / "m.pth", content, choice=f"#{names[0] or '.'}")[0], resnet)
    model, report = load(tmp_path / "m.pth", content, choice=f"#{names[1]}")
    assert is_body_of(model, other) and dict(report.left_out) == {"another network": 122} and adds_up(report)


def test_equal_networks_are_one(resnet: State, tmp_path: Path) -> None:
    copied = {name: value.clone() for name, value in resnet.items()}
    model, report = load(tmp_path / "m.pth", {"model": resnet, "ema": copied, "again": resnet}, NIH_14)
    assert is_body_of(model, resnet)
    assert dict(report.left_out) == {"copy of it": 244} and report.total == 366


@pytest.mark.parametrize(
    "names", [("state_dict", "state_dict_ema"), ("", "ema"), ("a.backbone", "b.backbone")]
)
def test_equal_bodies_with_other_heads_are_refused_until_one_is_named(
    names: tuple[str, str], resnet: State, tmp_path: Path
) -> None:
    first, second = (f"{name}." if name else "" for name in names)
    content = under(first, resnet) | under(second, resnet | {"fc.bias": torch.arange(14.0) * 2})
    with pytest.raises(CxrError, match=f"holds 2 networks that differ: {names[0] or '.'}, {names[1]}"):
        load(tmp_path / "m.pth", content, NIH_14)
    assert load(tmp_path / "m.pth", content, NIH_14, f"#{names[1]}")[0].head.bias[13] == 26


def test_of_equal_bodies_the_one_with_a_head_is_taken(resnet: State, tmp_path: Path) -> None:
    for content in ({"encoder": body(resnet), "model": resnet}, {"model": resnet, "encoder": body(resnet)}):
        model, report = load(tmp_path / "m.pth", content, NIH_14)
        assert model.head.bias.tolist() == list(range(14)) and dict(report.left_out) == {"copy of it": 120}


def test_a_network_beside_its_own_copy_and_the_copys_twin_is_taken(
    resnet: State, other: State, tmp_path: Path
) -> None:
    projector = {"online_encoder.projector.0.weight": torch.zeros(64, 512)}
    content = (
        under("net.", resnet) | under("online_encoder.net.", resnet) | under("target_encoder.net.", other)
    )
    model, report = load(tmp_path / "m.pth", content | projector)
    assert is_body_of(model, resnet) and dict(report.left_out)["momentum twin"] == 122


def test_a_choice_that_is_not_there_is_refused(resnet: State, tmp_path: Path) -> None:
    with pytest.raises(CxrError, match="has no network called teacher") as error:
        load(tmp_path / "m.pth", under("student.", resnet), choice="#teacher")
    assert error.value.hint == "there is student"


def test_whatever_else_a_training_keeps_is_in_the_account(resnet: State, tmp_path: Path) -> None:
    content = {
        "state_dict": under("model.encoder.", body(resnet)) | {
            "model.projector.0.weight": torch.zeros(64, 512), "model.projector.2.weight": torch.zeros(8, 64),
            "criterion.pos_weight": torch.ones(14), "text_encoder.embed.weight": torch.zeros(9, 5),
        },
        "optimizer_states": [{"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.zeros(4)}}}],
        "n_averaged": torch.tensor(7), "best_auc": torch.tensor(0.8),
    }  # fmt: skip
    _, report = load(tmp_path / "m.ckpt", content)
    assert dict(report.left_out) == {
        "projection head": 2, "loss": 1, "other parts": 1, "training state": 2, "counters": 2,
    }  # fmt: skip
    assert adds_up(report) and report.head == "new"


def test_the_length_of_a_head_is_never_its_meaning(resnet: State, tmp_path: Path) -> None:
    model, report = load(tmp_path / "m.pth", resnet)
    assert not set(model.head.bias.tolist()) & set(range(1, 14))
    assert report.head == (
        "new: the file does not name its 14 outputs; "
        "model.head_findings=nih14 or model.head_findings=chexpert14 or "
        "model.head_findings=[A,B,...] says what they are"
    )


def test_a_head_in_chexperts_order_gives_each_finding_its_own_row(resnet: State, tmp_path: Path) -> None:
    model, report = load(tmp_path / "m.pth", resnet, CHEXPERT_14)
    shared = {"Cardiomegaly": 2, "Edema": 5, "Consolidation": 6, "Pneumonia": 7, "Atelectasis": 8,
              "Pneumothorax": 9, "Effusion": 10}  # fmt: skip
    assert {name: model.head.bias[NIH_14.index(name)].item() for name in shared} == shared
    assert report.head.startswith("loaded for 7 findings, new for 7: Infiltration, ")


def heads(**named: int) -> State:
    made = [{f"{head}.weight": torch.zeros(num, 512), f"{head}.bias": torch.arange(float(num))}
            for head, num in named.items()]  # fmt: skip
    return {name: tensor for one in made for name, tensor in one.items()}


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_names_of_outputs_may_be_spelled_in_any_way(
    tmp_path_factory: pytest.TempPathFactory, resnet: State, seed: int
) -> None:
    draw = random.Random(seed)
    spelled = []
    for name in NIH_14:
        letters = "".join(draw.choice((letter.lower(), letter.upper())) for letter in name)
        spelled.append(letters.replace("_", draw.choice(" _-")))
    model, report = load(tmp_path_factory.getbasetemp() / "spelled.pth", resnet, tuple(spelled))
    assert model.head.bias.tolist() == list(range(14)) and report.head == "loaded for 14 findings"


@pytest.mark.parametrize(
    ("make_names", "said"),
    [
        (
            lambda state: under("backbone.", numbered(body(state))),
            "120 tensors: 120 matched (under backbone.), 0 in",
        ),
        (
            lambda state: {"state_dict": under("net.", state), "epoch": 1},
            "120 matched (under state_dict.net.), 2 in",
        ),
        (lambda state: under("_orig_mod.", state), "122 tensors: 120 matched, 2 in the head"),
        (lambda state: {"net": state, "acc": 0.9}, "122 tensors: 120 matched (under net.), 2 in the head"),
        (
            lambda state: {"model_state": state},
            "122 tensors: 120 matched (under model_state.), 2 in the head",
        ),
        (lambda state: grey(state), "122 tensors: 120 matched, 2 in the head"),
        (lambda state: body(state) | heads(**{"fc.1": 14}), "122 tensors: 120 matched, 2 in the head"),
    ],
)
def test_the_checkpoints_that_people_reported_are_matched_whole(
    make_names: Callable[[State], State], said: str, resnet: State, tmp_path: Path
) -> None:
    assert said in str(load(tmp_path / "m.pth", make_names(resnet))[1])


@pytest.mark.parametrize(
    "name", ["scaler.weight", "pool.p", "ca.fc1.weight", "optim_block.weight", "lrelu.alpha"]
)
def test_what_may_change_what_a_network_computes_is_never_left_out(
    name: str, resnet: State, tmp_path: Path
) -> None:
    for prefix in ("", "net."):
        with pytest.raises(CxrError, match=f"among its parts that a resnet18 does not have: {prefix}{name}"):
            load(tmp_path / "m.pth", under(prefix, resnet | {name: torch.ones(1)}))


def test_of_several_heads_the_one_of_so_many_outputs_is_meant(resnet: State, tmp_path: Path) -> None:
    content = under("net.", body(resnet)) | heads(fc_a=14, fc_b=5)
    model, report = load(tmp_path / "m.pth", content, NIH_14)
    assert model.head.bias.tolist() == list(range(14)) and report.in_head == 4
    assert (
        "2 heads without names of findings (fc_a: 14 outputs; fc_b: 5 outputs)"
        in load(tmp_path / "m.pth", content)[1].head
    )
    with pytest.raises(CxrError, match="has 2 heads of 14 outputs"):
        load(tmp_path / "m.pth", content | heads(fc_c=14), NIH_14)


@pytest.mark.parametrize("others", [{"fc1": 512}, {"attn": 1}, {"fc_b": 5}])
def test_a_second_layer_on_the_features_is_refused_in_eval_and_said_in_train(
    others: dict[str, int], resnet: State, tmp_path: Path
) -> None:
    _, report = load(tmp_path / "m.pth", body(resnet) | heads(**others) | heads(fc2=14), NIH_14)
    (name,) = others
    assert f"further layers on its features: {name}: " in str(report)
    with pytest.raises(CxrError, match=rf"has further layers on its features beside fc2 \({name}: "):
        open_external(str(tmp_path / "m.pth"), NIH_14)


def test_a_network_of_another_kind_beside_the_named_one_is_left_out(resnet: State, tmp_path: Path) -> None:
    torch.save({"a": resnet, "b": make("densenet121", 1)}, tmp_path / "m.pth")
    with pytest.raises(CxrError, match="holds networks of several kinds") as error:
        open_external(str(tmp_path / "m.pth"), NIH_14)
    assert error.value.hint == f"say which, such as {tmp_path}/m.pth#b.features"
    for name, backbone in (("a", "resnet18"), ("b", "densenet121")):
        assert open_external(f"{tmp_path}/m.pth#{name}", NIH_14).backbone == backbone


class Own(nn.Module):
    """A network around another, or an activation, as people write them."""

    def __init__(self, net: nn.Module | None = None, **attributes: Any) -> None:  # noqa: ANN401
        super().__init__()
        self.net = net
        for name, value in attributes.items():
            setattr(self, name, value)


def whole(**parts: nn.Module) -> Any:  # noqa: ANN401  a ResNet, whose parts have no types
    """A ResNet-18 with small tensors and some parts exchanged."""
    with torch.device("meta"):
        net = get_model("resnet18", weights=None, num_classes=14)
    net.load_state_dict(make("resnet18", 1), assign=True)
    for name, part in parts.items():
        setattr(net, name, part)
    return net


def changed(path: str, **attributes: object) -> Any:  # noqa: ANN401
    net = whole()
    for name, value in attributes.items():
        setattr(net.get_submodule(path), name, value)
    return net


def in_sequence(*between: nn.Module) -> nn.Module:
    children = list(whole().children())
    return nn.Sequential(*children[:8], *between, nn.Flatten(), children[9])


@pytest.mark.parametrize(
    ("net", "said"),
    [
        (lambda: changed("conv1", stride=(1, 1)), "conv1 has stride (1, 1), torchvision's (2, 2)"),
        (lambda: changed("layer4.0.conv2", dilation=(2, 2)), "layer4.0.conv2 has dilation (2, 2)"),
        (lambda: changed("layer2.1.bn2", eps=0.1), "layer2.1.bn2 has eps 0.1, torchvision's 1e-05"),
        (lambda: changed("maxpool", ceil_mode=True), "maxpool has ceil_mode True"),
        (
            lambda: whole(avgpool=nn.MaxPool2d(7)),
            "avgpool is a torch.nn.modules.pooling.MaxPool2d, torchvision's a ",
        ),
        (lambda: whole(maxpool=nn.Identity()), "maxpool is a torch.nn.modules.linear.Identity"),
        (lambda: whole(relu=Own()), "relu is a tests.weights.test_match.Own, torchvision's a ReLU"),
        (
            lambda: whole(fc=nn.Sequential(whole().fc, nn.ReLU())),
            "fc.1 is a torch.nn.modules.activation.ReLU that",
        ),
        (lambda: Own(whole(), temperature=torch.tensor(4.0)), "temperature is a tensor that"),
        (lambda: Own(whole(), last=nn.AvgPool2d(2)), "last is a torch.nn.modules.pooling.AvgPool2d that"),
        (
            lambda: in_sequence(nn.MaxPool2d(7)),
            "8 is a torch.nn.modules.pooling.MaxPool2d, torchvision's a Adaptive",
        ),
    ],
)
def test_a_pickled_network_that_computes_something_else_is_refused_by_name(
    net: Callable[[], nn.Module], said: str, tmp_path: Path
) -> None:
    torch.save(net(), tmp_path / "m.pth")
    with pytest.raises(CxrError) as error:
        open_external(str(tmp_path / "m.pth"), NIH_14)
    assert said in error.value.problems[0]


@pytest.mark.parametrize(
    "net",
    [
        whole, lambda: nn.DataParallel(whole()), lambda: whole(avgpool=nn.AvgPool2d(7)),
        lambda: whole(fc=nn.Sequential(nn.Dropout(), whole().fc, nn.Sigmoid())),
        lambda: in_sequence(nn.AdaptiveAvgPool2d(1)), lambda: changed("bn1", momentum=0.5),
        lambda: Own(whole(), criterion=nn.BCELoss(), class_weights=torch.ones(14), sigmoid=nn.Sigmoid()),
    ],
)  # fmt: skip
def test_a_pickled_network_that_computes_the_same_is_taken(
    net: Callable[[], nn.Module], tmp_path: Path
) -> None:
    made = net()
    torch.save(made, tmp_path / "m.pth")
    own = open_external(str(tmp_path / "m.pth"), NIH_14).unknown_classes
    assert own == (("tests.weights.test_match.Own",) if isinstance(made, Own) else ())


@pytest.mark.parametrize(
    ("head", "names", "said"),
    [
        (heads(fc=5), NIH_14, "model.head_findings names 14 findings, the file has fc: 5 outputs"),
        (heads(fc=2), ("Pneumonia",), "two outputs for one finding are a softmax"),
        ({}, NIH_14, "names 14 findings, the file has no linear head"),
        (heads(**{"fc.0": 14}) | {"fc.2.weight": torch.zeros(14, 14)}, NIH_14, "the file has no linear head"),
        ({"fc.weight": torch.zeros(14, 512, 1, 1)}, NIH_14, "among its parts|no linear head"),
    ],
)
def test_names_that_do_not_fit_the_head_are_refused(
    head: State, names: tuple[str, ...], said: str, resnet: State, tmp_path: Path
) -> None:
    with pytest.raises(CxrError, match=said):
        load(tmp_path / "m.pth", body(resnet) | head, names)


@pytest.mark.parametrize(
    "name", ["fc", "fc.1", "classifier.0", "last_linear", "head.fc", "linear", "model.fc"]
)
def test_a_head_is_known_by_its_shape_not_by_its_name(name: str, resnet: State, tmp_path: Path) -> None:
    model, report = load(tmp_path / "m.pth", body(resnet) | heads(**{name: 14}), NIH_14)
    assert model.head.bias.tolist() == list(range(14)) and report.in_head == 2


@pytest.mark.parametrize("weights", ["imagenet", "none", "xrv:densenet121-res224-all"])
def test_names_for_weights_that_are_no_file_are_refused(weights: str) -> None:
    with pytest.raises(CxrError, match=r"model\.head_findings: names the outputs of a file's head"):
        check_weights(Model(weights=weights, head_findings=NIH_14))


@pytest.mark.parametrize(
    ("spelling", "features"), [("norm.1", "features."), ("layers.norm1", ""), ("norm1", "0."), ("norm.1", "")]
)
def test_densenets_are_found_in_every_spelling(spelling: str, features: str, tmp_path: Path) -> None:
    state = make("densenet121", 1)
    layers = spelling.replace("norm", "{}").replace("1", "{}")
    content = {}
    for name, value in state.items():
        for part in ("norm1", "norm2", "conv1", "conv2"):
            if "denselayer" in name:
                name = name.replace(f".{part}.", f".{layers.format(part[:4], part[4])}.")
        content["module." + name.replace("features.", features)] = value
    torch.save(content, tmp_path / "m.pth")
    model = Classifier("densenet121", 1)
    report = load_weights(model, str(tmp_path / "m.pth"), ("Mass",))
    assert (report.matched, report.total) == (725, 727)
    last = "denseblock4.denselayer16.norm2.weight"
    assert torch.equal(model.backbone.get_parameter(f"features.{last}"), state[f"features.{last}"])


def grey(state: State) -> State:
    return state | {"conv1.weight": state["conv1.weight"].sum(dim=1, keepdim=True)}


@torch.inference_mode()
def test_a_first_convolution_over_one_channel_is_loaded_as_it_is(tmp_path: Path) -> None:
    theirs = get_model("resnet18", weights=None, num_classes=14)
    resnet = theirs.state_dict()
    theirs.conv1 = nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
    theirs.load_state_dict(grey(resnet))
    model, report = load(tmp_path / "m.pth", theirs.state_dict(), NIH_14)
    pixels = torch.rand(2, 1, 64, 64)
    torch.testing.assert_close(
        model.eval()(pixels * 255), theirs.eval()((pixels - 0.449) / 0.226), rtol=1e-3, atol=1e-3
    )
    assert "its first convolution sees one channel; assumed: pixels normalised by ImageNet's" in str(report)


@pytest.mark.parametrize(
    ("backbone", "said", "hint"),
    [
        ("resnet50", "holds the tensors of a resnet50, not of a resnet18",
         "set model.backbone=resnet50; the file has"),
        ("wide_resnet50_2", "holds the tensors of a wide_resnet50_2, not of a resnet18",
         "cxr has densenet121, "),
        ("resnext50_32x4d", "holds the tensors of a resnext50_32x4d, not of a resnet18",
         "cxr has densenet121, "),
        ("vit_b_32", "looks like a transformer: none of its tensors fits a resnet18",
         "the file has conv_proj"),
        ("mobilenet_v3_small", "none of its tensors fits a resnet18",
         "the file has features.0.0.weight [16, 3, 3, 3]"),
    ],
)  # fmt: skip
def test_a_file_of_another_network_is_called_by_its_name(
    backbone: str, said: str, hint: str, tmp_path: Path
) -> None:
    with pytest.raises(CxrError, match=said) as error:
        load(tmp_path / "m.pth", make(backbone, 1))
    assert error.value.hint.startswith(hint)
    assert "a resnet18 has " in error.value.hint


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["conv1.weight", "layer3.0.bn1.running_mean", "fc.weight"])
def test_numbers_that_are_not_finite_are_refused_by_name(
    value: float, name: str, resnet: State, tmp_path: Path
) -> None:
    broken = resnet[name].clone()
    broken.view(-1)[-1] = value
    with pytest.raises(CxrError, match=f"m.pth: {name} holds (NaN|infinite numbers)"):
        load(tmp_path / "m.pth", resnet | {name: broken}, NIH_14)
    if name == "fc.weight":
        assert load(tmp_path / "m.pth", resnet | {name: broken})[1].matched == 120  # it is not used


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_floats_of_other_precisions_are_brought_to_float32(
    dtype: torch.dtype, resnet: State, tmp_path: Path
) -> None:
    other = {name: value.to(dtype) if value.is_floating_point() else value for name, value in resnet.items()}
    model, _ = load(tmp_path / "m.pth", other, NIH_14)
    assert torch.equal(model.head.weight, other["fc.weight"].float())
    assert model.head.weight.dtype == torch.float32


def quantised(tensor: Tensor) -> Tensor:
    return torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tensor: tensor.to(torch.complex64), "holds complex64 in place of weights"),
        (lambda tensor: tensor.to(torch.int8), "holds int8 in place of weights"),
        (lambda tensor: tensor.double() * 1e100, "holds infinite numbers"),
        (lambda tensor: tensor.to_sparse(), "is sparse"),
        (lambda tensor: tensor.to("meta"), "has no values"),
        (quantised, "is quantised"),
        (lambda tensor: tensor[:0], r"fc: 14 outputs|no linear head|among its parts"),
    ],
)
def test_tensors_that_are_no_numbers_are_refused_by_name(
    change: Callable[[Tensor], Tensor], said: str, resnet: State, tmp_path: Path
) -> None:
    with pytest.raises(CxrError, match=said):
        load(tmp_path / "m.pth", resnet | {"fc.weight": change(resnet["fc.weight"])}, NIH_14)


def test_variances_below_zero_are_refused(resnet: State, tmp_path: Path) -> None:
    with pytest.raises(CxrError, match=r"bn1\.running_var holds variances below zero"):
        load(tmp_path / "m.pth", resnet | {"bn1.running_var": -torch.ones(64)})


def test_what_is_refused_is_refused_before_packing(resnet: State, tmp_path: Path) -> None:
    torch.save(resnet, tmp_path / "m.pth")
    check_weights(Model(backbone="resnet18", weights=str(tmp_path / "m.pth"), head_findings=NIH_14))
    with pytest.raises(CxrError, match="names 5 findings"):
        check_weights(
            Model.model_validate(
                {"backbone": "resnet18", "weights": str(tmp_path / "m.pth"), "head_findings": "chexpert5"}
            )
        )
    with pytest.raises(CxrError, match="of a resnet18, not of a resnet34"):
        check_weights(Model(backbone="resnet34", weights=str(tmp_path / "m.pth")))
