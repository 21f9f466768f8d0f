"""A publication is killed at a moment of chance, a hundred times."""

import random
import signal
import time

import pytest
from tests.faults import checker
from tests.faults.harness import KILLED, World, begin, finish, started

pytestmark = pytest.mark.faults

KILLS = 100


def test_killed_at_a_random_moment(world: World) -> None:
    with started("publish", world.fresh(), world.job) as process:
        begin(process)
        length = finish(process).seconds
    chance = random.Random(20)
    hits = torn = 0
    for _ in range(2 * KILLS):
        if hits == KILLS:
            break
        root = world.fresh()
        with started("publish", root, world.job) as process:
            begin(process)
            time.sleep(chance.uniform(0, length))
            process.send_signal(signal.SIGKILL)
            hit = finish(process).code == KILLED
        world.check(root)
        hits += hit
        torn += bool(checker.leftovers(root))
        world.recover(root)
    assert hits == KILLS
    # Chance must have hit the middle of the work, or nothing was tried.
    assert torn >= KILLS / 10
