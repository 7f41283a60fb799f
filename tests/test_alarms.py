"""Every alarm of health is brought about by a real run of bench/alarms.py, or docs/alarms.md says
why not.
"""

import re

import pytest
from conftest import ROOT

from bench.alarms import ELSEWHERE, FAULTS, Fault
from onecard.recipe.file import load_recipe
from onecard.watch.alarm import MAY_STOP
from rewards.custom import check_functions

pytestmark = pytest.mark.unit


def test_every_alarm_has_a_run_that_deserves_it() -> None:
    assert set().union(*(fault.expected for fault in FAULTS)) | ELSEWHERE.keys() == set(MAY_STOP)


def test_the_table_holds_what_was_expected() -> None:
    rows = dict(
        re.findall(
            r"^\| (.+?) \| (.+?) \| \d+ -> \d+ % \|$", (ROOT / "docs/alarms.md").read_text(), re.M
        )
    )
    assert rows.pop("nothing") == "nothing"
    assert rows.keys() == {fault.what for fault in FAULTS}
    for fault in FAULTS:
        assert fault.expected <= set(re.findall(r"\w+(?= \(\d+\))", rows[fault.what]))


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.what for fault in FAULTS])
def test_the_settings_are_a_recipe(fault: Fault) -> None:
    check_functions(load_recipe(ROOT / "recipes/tiny.yaml", list(fault.settings)).rewards)
