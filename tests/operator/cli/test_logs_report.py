"""`graft logs`, `graft report` and `graft version`."""

import pytest

from tests.operator.cli.conftest import Graft
from tests.operator.cli.served import Served, a_job, a_release


def test_a_log_is_printed_as_it_is(ask: Graft, served: Served) -> None:
    served.add(a_job())
    served.control.log.path.write_bytes(b"step 1\nstep 2 \xe2\x82\xac\n")

    ran = ask("logs", "ftj/texts", "--role", "train")

    assert (ran.code, ran.out) == (0, "step 1\nstep 2 €\n")
    assert served.control.asked == ["train"]


def test_following_ends_when_the_child_has_ended(ask: Graft, served: Served) -> None:
    served.add(a_job())
    log = served.control.log
    log.path.write_text("step 1\n")
    log.live = True

    def end() -> None:
        log.path.write_text("step 1\nstep 2\n")
        log.live = False

    served.later(end, 0.1)

    assert ask("logs", "-f", "ftj/texts").out == "step 1\nstep 2\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["ftj/texts"], "has no log yet; `graft describe` says what it waits for"),
        (["ftj/none"], '"none" not found'),
        (["ftj/texts", "mr/shop"], "2 objects were named; expected one, e.g. graft logs ftj/my-job"),
        (["ftj/texts", "--revision", "x"], "--revision is for releases; got finetunejobs/texts"),
        (["mr/shop", "--role", "train"], "--role is for jobs; got modelreleases/shop"),
        (["texts"], "cannot tell which object is meant by 'texts'"),
    ],
)
def test_a_log_that_is_not_there_or_not_clear_is_refused(
    ask: Graft, served: Served, words: list[str], told: str
) -> None:
    served.add(a_job(), a_release())

    ran = ask("logs", *words)

    assert told in ran.err
    assert ran.code == 1


@pytest.mark.parametrize(
    ("uri", "at"),
    [
        ("file:///store/default/texts/9f2c/", "/store/default/texts/9f2c/report.html"),
        ("file:///my%20store/9f2c", "/my store/9f2c/report.html"),
        ("s3://bucket/adapters/9f2c/", "s3://bucket/adapters/9f2c/report.html"),
    ],
)
def test_a_report_is_found_beside_the_adapter(ask: Graft, served: Served, uri: str, at: str) -> None:
    served.add(a_job())
    served.set_status("ftj", "texts", {"artifact": {"uri": uri}})

    assert ask("report", "texts").out == f"{at}\n"


def test_a_report_is_shown_in_the_browser_when_asked(
    ask: Graft, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    monkeypatch.setattr("click.launch", shown.append)
    served.add(a_job())
    served.set_status("ftj", "texts", {"artifact": {"uri": "file:///store/9f2c"}})

    assert ask("report", "ftj/texts", "--open").code == 0
    assert shown == ["/store/9f2c/report.html"]


def test_a_job_that_has_published_nothing_has_no_report(ask: Graft, served: Served) -> None:
    served.add(a_job())
    served.set_status("ftj", "texts", {"phase": "GatesFailed"})

    ran = ask("report", "ftj/texts")

    assert ran.code == 1
    assert ran.err == (
        "error: finetunejobs/texts has published nothing (phase 'GatesFailed'), so there is no report;"
        " `graft describe ftj/texts` says how it stands\n"
    )


def test_both_versions_are_told(ask: Graft) -> None:
    ran = ask("version")

    assert ran.out.splitlines()[0].startswith("graft 0.")
    assert ran.out.splitlines()[1] == "graft up 9.9.9"


def test_the_own_version_is_told_without_a_server(graft: Graft) -> None:
    ran = graft("version")

    assert (ran.code, ran.out.startswith("graft 0.")) == (0, True)
    assert ran.err.startswith("graft up: no `graft up` serves the state folder '.graft'")
