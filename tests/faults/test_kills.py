"""A short version of `python -m tests.faults.kills`."""

import random
from pathlib import Path

from tests.faults.kills import kill_at_random, stages


def test_a_killed_pack_train_eval_and_predict_go_on_to_the_same_bytes(tmp_path: Path) -> None:
    for stage in stages(tmp_path, 60, 64, epochs=1):
        assert kill_at_random(stage, 1, random.Random(1)).compared >= 1
