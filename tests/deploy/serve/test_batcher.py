"""Images share forward passes, and no more wait than may."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from cxr.deploy.serve.batcher import Batcher, Result
from cxr.deploy.serve.limits import Limits, RefusedError
from cxr.deploy.studies import LATERAL_WARNING, Rule, combine_studies
from cxr.images.grey import Grey
from tests.helpers.serving import Serving


def squares(served: Serving, number: int) -> Grey:
    size = served.facts.preprocess.size
    return np.random.default_rng(0).integers(0, 255, (number, size, size), np.uint8)


def test_images_of_many_requests_share_a_forward_pass_and_each_has_its_own_result(served: Serving) -> None:
    images = squares(served, 10)

    async def ask() -> tuple[list[Result], int]:
        batcher = Batcher(served.runtime, replace(Limits(), max_batch=8))
        work = asyncio.create_task(batcher.run())
        results = await asyncio.gather(*(batcher.predict(image, has_maps=True) for image in images))
        work.cancel()
        return results, batcher.num_batches

    results, num_batches = asyncio.run(ask())
    assert num_batches == 2
    expected = served.runtime.predict(images)
    assert np.array([one.probabilities for one in results]) == pytest.approx(expected.probabilities, abs=1e-6)
    for number, one in enumerate(results):
        assert one.maps is not None and one.maps == pytest.approx(expected.read_maps(number), abs=1e-4)


def test_an_image_for_which_there_is_no_room_is_refused(served: Serving) -> None:
    images = squares(served, 5)

    async def ask() -> list[Result | BaseException]:
        batcher = Batcher(served.runtime, replace(Limits(), max_waiting=3))
        asked = [asyncio.create_task(batcher.predict(image)) for image in images]
        await asyncio.sleep(0)
        work = asyncio.create_task(batcher.run())
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        work.cancel()
        return outcomes

    outcomes = asyncio.run(ask())
    assert [isinstance(one, RefusedError) and one.status for one in outcomes] == [False] * 3 + [503] * 2


def test_a_study_is_combined_by_the_rule_without_views_that_the_model_does_not_know() -> None:
    studies = {0: ("a", "PA"), 1: ("a", "lateral"), 2: ("", "PA"), 3: ("a", ""), 4: ("b", "lateral")}
    probabilities = {0: [0.2, 0.4], 1: [0.9, 0.9], 2: [0.7, 0.7], 3: [0.6, 0.2], 4: [0.5, 0.5]}
    rule = Rule("study", "mean", ("PA", "AP"))
    first, second = combine_studies(studies, probabilities, rule)
    assert first.probabilities == pytest.approx((0.4, 0.3))
    assert (first.images, first.left_out) == ((0, 1, 3), (1,))
    assert (second.probabilities, second.left_out) == ((), (4,))
    assert rule.warn_of_view("lateral") == LATERAL_WARNING and not rule.warn_of_view("PA")
    assert combine_studies(studies, probabilities, Rule())[0].probabilities == (0.9, 0.9)
