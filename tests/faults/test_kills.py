"""A short version of `python -m tests.faults.kills`, which also kills train, eval and predict."""

import random
from pathlib import Path

from tests.faults.kills import kill_at_random, stages


def test_a_killed_pack_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    pack = stages(tmp_path, 60, 64)[0]
    assert kill_at_random(pack, 1, random.Random(1)).compared >= 1
