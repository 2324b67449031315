"""Prompts: one renderer for training and serving, with a template language that cannot blow up."""

import time

import pytest

from graft_core.api.v1alpha1.task import TaskSpec, TaskType
from graft_core.errors import InvalidInput
from graft_core.tasks.messages import Message
from graft_core.tasks.sandbox import MAX_RENDERED_CHARS, compile_template
from graft_core.tasks.template import (
    check_task_template,
    render_prompt,
    render_request,
    template_sha256,
    template_variables,
)


def a_task(kind: TaskType = TaskType.TEXT_TO_JSON, *, template: str = "", system: str = "") -> TaskSpec:
    return TaskSpec(type=kind, template=template, system=system)


def user(text: str) -> Message:
    return Message("user", text)


def test_prompt_is_system_and_rendered_user_message() -> None:
    task = a_task(template="Query: {{ query }}\n\nOutput JSON:", system="Trả lời bằng JSON.")
    assert render_prompt(task, {"query": "áo khoác"}) == (
        Message("system", "Trả lời bằng JSON."),
        user("Query: áo khoác\n\nOutput JSON:"),
    )


@pytest.mark.parametrize(
    ("template", "fields", "expected"),
    [
        pytest.param("", {"text": "as it is"}, "as it is", id="no template, one field"),
        pytest.param("", {"instruction": "Translate", "input": "xin chào"}, "Translate\n\nxin chào", id="instruction"),
        pytest.param("", {"instruction": "Sing", "input": ""}, "Sing", id="instruction without input"),
        pytest.param("{{ a }}\n", {"a": "x"}, "x\n", id="trailing newline is kept"),
        pytest.param("{{ a }} {{ b }} {{ c }}", {"a": True, "b": {"k": [1]}, "c": None}, 'true {"k": [1]} ', id="JSON values"),
        pytest.param("{{ a | default('-') }}{{ b }}", {"b": 1}, "-1", id="optional field"),
        pytest.param("{% for d in docs %}[{{ loop.index }}] {{ d.text }}\n{% endfor %}{{ q }}", {"docs": [{"text": "one"}, {"text": "two"}], "q": "?"}, "[1] one\n[2] two\n?", id="loop"),
        pytest.param("{{ tags | join(', ') }}", {"tags": ["đỏ", 2]}, "đỏ, 2", id="join"),
        pytest.param("{{ row | tojson }}", {"row": "<b>"}, '"<b>"', id="tojson does not escape HTML"),
        pytest.param("{{ a.strip().upper() if a else b }}", {"a": " x ", "b": ""}, "X", id="methods and conditions"),
    ],
)  # fmt: skip
def test_template_renders(template: str, fields: dict[str, object], expected: str) -> None:
    assert render_prompt(a_task(template=template), fields)[-1].content == expected


def test_text_of_a_field_is_never_read_as_a_template() -> None:
    assert render_prompt(a_task(template="{{ a }}"), {"a": "{{ 7 }}"})[-1].content == "{{ 7 }}"


def test_missing_variable_is_named_and_values_are_not_quoted() -> None:
    with pytest.raises(
        InvalidInput, match="names 'query', which the input does not have; it has \\['text'\\]"
    ) as caught:
        render_prompt(a_task(template="{{ query }}"), {"text": "secret words"})
    assert caught.value.path == "spec.task.template"
    assert "secret" not in str(caught.value)


def test_several_fields_without_a_template_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"needs task\.template"):
        render_prompt(a_task(), {"a": 1, "b": 2})


def test_empty_prompt_is_refused() -> None:
    with pytest.raises(InvalidInput, match="empty prompt"):
        render_prompt(a_task(), {"a": "  "})


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ q", "line 1: unexpected end of template"),
        ("a\n{% nope %}", "line 2: Encountered unknown tag 'nope'"),
        ("{{ range(9) }}", "only these may be called"),
        ("{{ q.format(1) }}", "only these may be called"),
        ("{{ q * 999999999 }}", "mul is not allowed"),
        ("{{ 9 ** 9 ** 9 }}", "pow is not allowed"),
        ("{{ '%999999999d' % 1 }}", "mod is not allowed"),
        ("{{ q.__class__ }}", "names that start with _"),
        ("{% macro m() %}{% endmacro %}", "macro is not allowed"),
        ("{% set a = q %}{{ a }}", "assign is not allowed"),
        ("{% include 'x' %}", "include is not allowed"),
        ("{{ q | replace('a', 'b') }}", "No filter named 'replace'"),
        ("{{ q | graft_bounded }}", "no filter named 'graft_bounded'"),
        ("{{ graft_loop_budget }}", "reserved name"),
        ("{% for a in q recursive %}{% endfor %}", "recursive loops"),
        ("{{ " + "~".join(["q"] * 40) + " }}", "40 operands of ~ and \\+"),
        ("{{ " + "(" * 5000 + "q" + ")" * 5000 + " }}", "nested too deeply"),
        ("{% for a in q %}" * 40 + "{% endfor %}" * 40, "nested too deeply"),
        ("x" * 20000, "has 20000 characters"),
    ],
)
def test_dangerous_template_is_refused_before_it_runs(template: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        template_variables(TaskSpec.model_construct(type=TaskType.CHAT, template=template))
    assert caught.value.path == "spec.task.template"


@pytest.mark.parametrize(
    ("template", "value", "message"),
    [
        ("{% for a in q %}{% for b in q %}{% endfor %}{% endfor %}", list(range(200)), "more than 10000 loop rounds"),
        ("{% for a in q %}{{ q }}{% endfor %}", "x" * 5000, f"over {MAX_RENDERED_CHARS} characters"),
        ("{{ q | join('xxxxxxxxxx' ) }}", ["y"] * 200_000, "joined list is over"),
        ("{{ q + 1 }}", "text", r"does not fit the type of a field \(TypeError\)"),
        ("{{ q.nope }}", {"a": 1}, "has no attribute 'nope'"),
    ],
)  # fmt: skip
def test_rendering_is_bounded(template: str, value: object, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        compile_template(template).render({"q": value})


def test_refusing_a_bomb_is_quick() -> None:
    start = time.perf_counter()
    with pytest.raises(InvalidInput):
        compile_template("{% for a in q if a < 0 %}{% for b in q %}{% endfor %}{% endfor %}").render(
            {"q": list(range(100_000))}
        )
    assert time.perf_counter() - start < 1


def test_template_that_ignores_its_input_is_refused() -> None:
    with pytest.raises(InvalidInput, match="names no input field"):
        check_task_template(a_task(template="Hello"))
    check_task_template(a_task(template="{{ q }}"))
    check_task_template(a_task())


class TestRequests:
    """A request is rendered as the model was trained."""

    def test_training_and_serving_render_the_same(self) -> None:
        task = a_task(template="Query: {{ query }}\n\nOutput JSON:", system="S")
        assert render_request(task, [user("áo")]) == render_prompt(task, {"query": "áo"})

    def test_single_variable_takes_even_json_as_its_text(self) -> None:
        task = a_task(template="Q: {{ query }}")
        assert render_request(task, [user('{"query": "x"}')])[-1].content == 'Q: {"query": "x"}'

    def test_several_variables_come_as_a_json_object(self) -> None:
        task = a_task(TaskType.TEXT_TO_SQL, template="{{ schema }} {{ question }}")
        assert render_request(task, [user('{"schema": "t(a)", "question": "all?"}')])[-1].content == "t(a) all?"

    def test_fields_beside_the_messages_leave_one_variable_to_the_text(self) -> None:
        task = a_task(TaskType.RAG_QA, template="{{ context }}|{{ question }}")
        assert render_request(task, [user("why?")], {"context": "c"})[-1].content == "c|why?"
        assert render_request(task, [user("")], {"context": "c", "question": "q"})[-1].content == "c|q"

    @pytest.mark.parametrize(
        ("text", "fields", "message"),
        [
            ("plain", None, "this task has 2 input fields; send them as graft.fields"),
            ("[1]", None, "this task has 2 input fields"),
            ('{"other": 1}', None, "none of the task's input fields"),
            ('{"a": 1}', None, "names 'b', which the input does not have"),
            ("x", {"nope": 1}, "no input field 'nope'"),
            ("x", {"a": 1, "b": 2}, "leave the message empty"),
            ("", {"a": 1}, "names 'b'"),
        ],
    )
    def test_fields_that_do_not_fit_are_named(self, text: str, fields: dict[str, object] | None, message: str) -> None:
        with pytest.raises(InvalidInput, match=message):
            render_request(a_task(template="{{ a }}{{ b }}"), [user(text)], fields)

    def test_chat_keeps_earlier_turns_and_adds_the_clients_system_message(self) -> None:
        turns = [Message("system", "Be brief."), user("hi"), Message("assistant", "hello"), user("bye")]
        rendered = render_request(a_task(TaskType.CHAT, system="Own.", template="> {{ text }}"), turns)
        assert rendered == (
            Message("system", "Own.\n\nBe brief."),
            user("hi"),
            Message("assistant", "hello"),
            user("> bye"),
        )

    def test_bound_tasks_take_one_message_and_no_other_system_message(self) -> None:
        task = a_task(system="Own.")
        with pytest.raises(InvalidInput, match="answers one user message, got 3 turns"):
            render_request(task, [user("a"), Message("assistant", "b"), user("c")])
        with pytest.raises(InvalidInput, match="has a system message of its own"):
            render_request(task, [Message("system", "Ignore it."), user("a")])
        assert render_request(task, [Message("system", "Own."), user("a")]) == (Message("system", "Own."), user("a"))


class TestHash:
    """The hash differs exactly where a prompt could."""

    def test_it_covers_type_system_template_and_chat_template(self) -> None:
        base = a_task(template="{{ a }}")
        hashes = {
            template_sha256(base, None),
            template_sha256(base, "chat"),
            template_sha256(base.model_copy(update={"template": "{{ a }} "}), None),
            template_sha256(base.model_copy(update={"system": "s"}), None),
            template_sha256(base.model_copy(update={"type": TaskType.CHAT}), None),
        }
        assert len(hashes) == 5

    def test_it_does_not_cover_what_no_prompt_shows(self) -> None:
        base = a_task(template="{{ a }}")
        renamed = base.model_copy(update={"prompt_version": "v9", "output_schema": {"type": "object"}})
        assert template_sha256(base, "c") == template_sha256(renamed, "c")

    def test_it_does_not_move_between_versions(self) -> None:
        assert template_sha256(a_task(template="{{ a }}", system="s"), "c") == (
            "02ce235d7a540a5b94143202d814f14d23e9ed0ed01e74b80afe2dd5644c5d71"
        )
