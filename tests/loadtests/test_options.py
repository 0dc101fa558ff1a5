"""Every option is declared once; every way to say it is made of that."""

import re
from typing import Any, Final

import pytest

from loadtests.plan.command_line import read_words, words_of
from loadtests.plan.keywords import KEYWORDS, given_by
from loadtests.plan.option import Kind
from loadtests.plan.options_page import options_page
from loadtests.plan.run_options import ARGUMENTS, OF_THE_OUTPUT, OPTIONS, RunOption
from loadtests.plan.scenario_file import KEYS
from tests.servers.launch import ROOT

EACH = pytest.mark.parametrize("option", OPTIONS.values(), ids=OPTIONS)
OF_A_KIND: Final[dict[Kind, Any]] = {
    Kind.TEXT: "a b",
    Kind.NUMBER: "3",
    Kind.SWITCH: True,
    Kind.LIST: ["a=b c", "d=-1"],
}
OF_AN_OPTION: Final[dict[str, Any]] = {
    "arrivals": "poisson",
    "bound": ["runnable_ratio=0.5", "gc_pause_seconds=0.25"],
    "client": "websockets",
    "feed_policy": "once",
    "max_message": "3KiB",
    "pid": ["1", "2"],
    "profile": "0..1/s for 10s, 1/s for 5s",
    "target_cmd": "serve 'a b' {port}",
    "think": "exp 1s",
}


def example(option: RunOption) -> Any:
    return OF_AN_OPTION.get(option.name, OF_A_KIND[option.kind])


@EACH
def test_an_option_says_what_it_means_in_a_sentence(option: RunOption) -> None:
    assert re.fullmatch(r"[A-Z].*[.…]", option.help), option.help


@pytest.mark.parametrize("name", OPTIONS.keys() - {*ARGUMENTS, "user"})
def test_what_is_written_of_an_option_is_read_back(name: str) -> None:
    """Places have no flag, and users are plans of their own: ``replay.py`` writes them."""
    option = OPTIONS[name]
    value = option.read(example(option))
    given = read_words([*words_of(option, value)])
    assert given.keys() == {name}
    assert option.read(given[name]) == value


@pytest.mark.parametrize("name", OPTIONS.keys() - OF_THE_OUTPUT - {*ARGUMENTS, "user"})
def test_a_keyword_says_what_the_flag_does(name: str) -> None:
    option = OPTIONS[name]
    by_keyword = given_by({"url": "ws://h/", name: example(option)})
    by_flag = read_words([*words_of(option, option.read(example(option)))])
    assert option.read(by_keyword[name]) == option.read(by_flag[name])


def test_every_option_of_a_run_is_a_key_and_a_keyword() -> None:
    assert {*OPTIONS} - {*KEYWORDS} == OF_THE_OUTPUT
    assert {it.key for it in OPTIONS.values() if it.option.in_file} - KEYS == {"param", "user"}


def test_the_reference_is_made_of_the_declarations() -> None:
    page = (ROOT / "docs/options.md").read_text(encoding="utf-8")
    assert page == options_page(), "run nox -s docs"
