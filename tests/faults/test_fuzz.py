"""A short version of `python -m tests.faults.fuzz`."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.faults.fuzz import damage, subjects

SUBJECTS = subjects()


@pytest.mark.parametrize("name", SUBJECTS)
def test_a_whole_file_is_read(name: str) -> None:
    data, read = SUBJECTS[name]
    read(data)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(SUBJECTS)), st.integers(0, 2**32))
def test_a_damaged_file_is_read_or_refused_by_name(name: str, seed: int) -> None:
    data, read = SUBJECTS[name]
    read(damage(data, random.Random(seed)))
