import json
from pathlib import Path

import pytest

from benchmarks.gpu import Group, Result, main
from benchmarks.timing import Row


def test_the_program_for_a_gpu_runs_small_on_a_cpu(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # the other groups are like these; three minutes are too short for the compiled steps, however fast the CPU is
    groups = "steps, resnet34, 4;steps, resnet34, compiled;commands, eager;plain;tests;epoch, eager;inference"
    with pytest.raises(SystemExit) as ended:
        main(minutes=3, device="cpu", out=tmp_path / "cpu.json", only=groups)
    said = capsys.readouterr().out
    assert ended.value.code == 0, said[-3000:]
    result = json.loads((tmp_path / "cpu.json").read_text())
    became = {group["name"]: group["became"] for group in result["groups"]}
    assert set(became.values()) == {"done", "left out"}
    assert [became[name] for name in ("commands, eager", "plain script", "tests")] == ["done"] * 3
    assert all(f"left out: {name}" in said for name, what in became.items() if what == "left out")
    rows = {(row["group"].partition(",")[0], row["unit"]) for row in result["rows"]}
    assert {("step", "images/s"), ("full epoch", "% of the time waiting for data"), ("commands", "s")} <= rows
    assert all(row["median"] >= 0 for row in result["rows"])
    rates = [
        row["median"]
        for row in result["rows"]
        if row["group"].startswith("plain script") and row["unit"] != "s"
    ]
    assert len(rates) == 1 and rates[0] > 0
    assert result["versions"]["torch"] and result["machine"]["cpu"] and result["anchors"]


def test_each_group_is_saved_and_one_that_fails_does_not_cost_the_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    def fail() -> list[Row]:
        raise RuntimeError("no kernel image is available")

    result = Result(tmp_path / "gpu.json", {"gpu": "H100"}, torch.device("cpu"))
    saved = []
    for name, work in (("first", fail), ("second", lambda: [Row("step", "bf16", 2.0, 1.0, 3.0)])):
        result.run(Group(name, (1, 1), work), left=10, needed=1)
        saved.append(json.loads((tmp_path / "gpu.json").read_text()))
    result.run(Group("third", (20, 20), fail), left=10, needed=20)
    assert [len(one["groups"]) for one in saved] == [1, 2]
    assert "no kernel image is available" in saved[0]["groups"][0]["why"]
    assert saved[1]["rows"][0]["median"] == 2
    assert (result.failed, result.summary()) == (["first"], "1 failed, 1 done, 1 left out")
    assert "left out: third: takes up to 20 s, and 10 s are left" in capsys.readouterr().out


def test_groups_that_are_done_are_kept_by_the_next_call_on_the_same_machine(tmp_path: Path) -> None:
    import torch

    path, cpu = tmp_path / "gpu.json", torch.device("cpu")
    fast, slow = (
        Group(name, (1, 1), lambda: [Row("step", "bf16", 2.0, 1.0, 3.0)] * 2) for name in ("fast", "slow")
    )
    first = Result(path, {"gpu": "H100"}, cpu)
    first.run(fast, left=10, needed=1)
    first.run(slow, left=0, needed=1)
    second = Result(path, {"gpu": "H100"}, cpu)
    assert [second.is_done(group) for group in (fast, slow)] == [True, False]
    second.run(slow, left=10, needed=1)
    saved = json.loads(path.read_text())
    assert [group["became"] for group in saved["groups"]] == ["done", "done"] and len(saved["rows"]) == 4
    assert not Result(path, {"gpu": "H200"}, cpu).is_done(fast)
