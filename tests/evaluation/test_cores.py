"""evaluation.cores: confined to so many, and what machine this is."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from edgecomp.evaluation.cores import confined, machine
from edgecomp.pipeline import usable_cpus

_COUNT = "import os; print(len(os.sched_getaffinity(0)))"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system cannot confine")
def test_threads_and_programs_are_confined() -> None:
    before = os.sched_getaffinity(0)
    with confined(1) as cores:
        assert cores == 1
        with ThreadPoolExecutor(1) as pool:
            assert len(pool.submit(os.sched_getaffinity, 0).result()) == 1
        done = subprocess.run([sys.executable, "-c", _COUNT], capture_output=True, check=True)
        assert int(done.stdout) == 1
    assert os.sched_getaffinity(0) == before


def test_no_more_than_there_are() -> None:
    with confined(None) as cores:
        assert cores == usable_cpus()
    with confined(1000) as cores:
        assert cores == usable_cpus()


def test_confinement_ends_with_an_error() -> None:
    before = usable_cpus()
    with pytest.raises(KeyError), confined(1):
        raise KeyError
    assert usable_cpus() == before


def test_the_machine_in_words() -> None:
    words = machine()
    assert set(words) == {"processor", "system", "python", "packages"}
    assert all(words.values())
    assert "edgecomp " in words["packages"]
    assert "numpy " in words["packages"]
    assert os.uname().nodename not in " ".join(words.values())
