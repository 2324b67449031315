"""The small readers and writers of the command line: durations, selectors, paths, goals, names."""

from typing import Any

import pytest

from graft_core.errors import InvalidInput
from graft_operator.cli.blocks import in_bytes, short_digest
from graft_operator.cli.durations import parse_duration_s, to_age
from graft_operator.cli.goals import Goal, parse_goal
from graft_operator.cli.jsonpath import look_up, to_words
from graft_operator.cli.selectors import matches, parse_selector
from graft_operator.local.resources import parse_kinds, parse_one, parse_targets


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10m", 600), ("1h30m", 5400), ("1.5m", 90), ("250ms", 0.25), ("7", 7), ("0", 0), ("2h0m1s", 7201)],
)
def test_a_duration_is_read_as_kubectl_reads_it(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "10 m", "m", "-5s", "5d", "1e3s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match=rf"'{text}' is not a duration; expected e\.g\. 90s, 10m or 1h30m"):
        parse_duration_s(text)


@pytest.mark.parametrize(
    ("seconds", "age"),
    [
        (-5, "0s"),
        (119, "119s"),
        (120, "2m"),
        (185, "3m5s"),
        (660, "11m"),
        (3 * 3600 + 60, "3h1m"),
        (4 * 3600, "4h"),
        (9 * 3600 + 60, "9h"),
        (3 * 86400 + 7200, "3d2h"),
        (4 * 86400, "4d"),
        (30 * 86400, "30d"),
    ],
)
def test_an_age_has_at_most_two_units(seconds: float, age: str) -> None:
    assert to_age(seconds) == age


LABELLED: dict[str, Any] = {"metadata": {"labels": {"team": "search", "env": "prod", "graft.dev/x": ""}}}


@pytest.mark.parametrize(
    ("selector", "is_match"),
    [
        ("team=search", True),
        ("team==search", True),
        ("team = search", True),
        ("team=shop", False),
        ("team!=shop", True),
        ("other!=shop", True),
        ("team=search,env=dev", False),
        ("team in (shop, search)", True),
        ("team in (shop,search),env", True),
        ("team notin (search)", False),  # codespell:ignore notin
        ("other notin (search)", True),  # codespell:ignore notin
        ("env", True),
        ("!env", False),
        ("!other", True),
        ("graft.dev/x=", True),
    ],
)
def test_a_selector_is_read_as_kubectl_reads_it(selector: str, is_match: bool) -> None:
    assert matches(parse_selector(selector), LABELLED) is is_match


@pytest.mark.parametrize("selector", ["", ",", "a=b=c", "a in b", "a in (b", "=b", "a b", "a>1"])
def test_what_is_no_selector_is_refused(selector: str) -> None:
    with pytest.raises(InvalidInput, match=r"is not understood; expected e\.g\. team=search or team!=search"):
        parse_selector(selector)


OBJECT: dict[str, Any] = {"a": {"b": [{"c": 1}, {"c": True}]}, "k.y": {"z": "v"}, "n": None}


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("{.a.b[0].c}", "1"),
        ("a.b[-1].c", "true"),
        ("$.a.b[*].c", "1 true"),
        ("{.a.b}", '[{"c": 1}, {"c": true}]'),
        (r"{.k\.y.z}", "v"),
        ("{['k.y'].z}", "v"),
        ("{.n}", ""),
        ("{.n.m}", ""),
        ("{.a.b[7].c}", ""),
        ("{.a.b.c}", ""),
        ("{.*.z}", "v"),
    ],
)
def test_a_path_leads_to_values(path: str, words: str) -> None:
    assert to_words(look_up(OBJECT, path)) == words


@pytest.mark.parametrize("path", ["{.a", "a}", "{.a[?(@.b)]}", "{.a..b}", "{range .items[*]}{end}"])
def test_a_path_that_needs_more_of_jsonpath_is_refused(path: str) -> None:
    with pytest.raises(InvalidInput, match=r"JSONPath .* expected"):
        look_up(OBJECT, path)


@pytest.mark.parametrize(
    ("words", "goal"),
    [
        ("delete", Goal("delete")),
        ("condition=Complete", Goal("condition", "Complete")),
        ("condition=ready=false", Goal("condition", "ready", "false")),
        ("jsonpath={.status.phase}=Released", Goal("jsonpath", "{.status.phase}", "Released")),
        ("jsonpath={.status.phase}='Released'", Goal("jsonpath", "{.status.phase}", "Released")),
        ("jsonpath=.status.url", Goal("jsonpath", ".status.url")),
        ("jsonpath={.status.url}=", Goal("jsonpath", "{.status.url}", "")),
    ],
)
def test_a_goal_is_read(words: str, goal: Goal) -> None:
    assert parse_goal(words) == goal


@pytest.mark.parametrize("words", ["", "condition=", "condition", "jsonpath=", "jsonpath={.a", "created", "deleted=1"])
def test_what_is_no_goal_is_refused(words: str) -> None:
    with pytest.raises(InvalidInput, match="expected"):
        parse_goal(words)


STATUS: dict[str, Any] = {
    "status": {
        "phase": "Failed",
        "conditions": [{"type": "Failed", "status": "True", "reason": "BadData", "message": "line 7"}],
    }
}


@pytest.mark.parametrize(
    ("words", "is_met"),
    [
        ("condition=Failed", True),
        ("condition=failed=true", True),
        ("condition=Failed=False", False),
        ("condition=Complete", False),
        ("jsonpath={.status.phase}=Failed", True),
        ("jsonpath={.status.phase}", True),
        ("jsonpath={.status.url}", False),
        ("delete", False),
    ],
)
def test_a_goal_is_met_or_not(words: str, is_met: bool) -> None:
    assert parse_goal(words).is_met(STATUS) is is_met


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("condition=Complete", "it is Failed: BadData: line 7"),
        ("condition=Complete=false", ""),
        ("condition=Published", ""),
        ("jsonpath={.status.phase}=Succeeded", ""),
    ],
)
def test_a_goal_that_can_not_be_met_any_more_is_known(words: str, why: str) -> None:
    assert parse_goal(words).why_never(STATUS) == why


@pytest.mark.parametrize(
    ("reason", "why"),
    [
        ("NotSupported", "it is not accepted: NotSupported: spec.sweep is not supported in this version"),
        ("PolicyDenied", ""),  # the policy may change
    ],
)
def test_a_job_that_is_not_accepted_never_completes(reason: str, why: str) -> None:
    message = "spec.sweep is not supported in this version"
    refused = {"type": "Accepted", "status": "False", "reason": reason, "message": message}
    goal = parse_goal("condition=Complete")
    assert goal.why_never({"status": {"conditions": [refused]}}) == why


@pytest.mark.parametrize("words", [["ftj/a", "mr/b"], ["ftj/a", "ftj/a", "mr/b"]])
def test_objects_are_named_by_kind_and_name_each_once(words: list[str]) -> None:
    assert [target.label for target in parse_targets(tuple(words))] == ["finetunejobs/a", "modelreleases/b"]


@pytest.mark.parametrize("words", [["ftj"], [], ["ftj", "mr/a"], ["ftj/a", "b"], ["ftj/"], ["ftj/a/b"], ["pods/a"]])
def test_words_that_name_no_object_are_refused(words: list[str]) -> None:
    with pytest.raises(InvalidInput, match="expected"):
        parse_targets(tuple(words))


@pytest.mark.parametrize("words", [["a"], ["mr/a"], ["modelrelease", "a"]])
def test_one_object_of_a_known_kind_needs_no_kind(words: list[str]) -> None:
    assert parse_one(tuple(words), "ModelRelease").label == "modelreleases/a"


@pytest.mark.parametrize("words", [["ftj/a"], ["mr", "a", "b"], ["mr/a", "mr/b"]])
def test_another_kind_or_more_than_one_object_is_refused(words: list[str]) -> None:
    with pytest.raises(InvalidInput, match=r"is not one modelrelease; expected e\.g\. mr/my-name"):
        parse_one(tuple(words), "ModelRelease")


def test_kinds_are_taken_once() -> None:
    assert [kind.short for kind in parse_kinds("mr,ftj,MR")] == ["mr", "ftj"]


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (40 << 20, "40 MiB"), (5 << 30, "5.0 GiB")]
)
def test_a_size_has_the_unit_a_person_would_choose(size: int, text: str) -> None:
    assert in_bytes(size) == text


@pytest.mark.parametrize(
    ("digest", "short"), [("sha256:" + "ab" * 32, "sha256:abababababab"), ("", ""), ("odd", "odd")]
)
def test_a_digest_is_cut_where_it_tells_enough(digest: str, short: str) -> None:
    assert short_digest(digest) == short
