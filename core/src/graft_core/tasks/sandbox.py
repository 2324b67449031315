"""Jinja for prompts, cut down to what cannot blow up.

A template comes with an object that anybody with access to a namespace may apply, and is rendered in the operator's and the
predictor's process. Jinja's sandbox keeps it from Python's internals; this module also bounds time and memory: no macros,
assignments or calls of its own, no globals, a closed list of filters whose output is linear in their input, a budget of loop
rounds and of characters.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Final

from jinja2 import (
    StrictUndefined,
    Template,
    TemplateError,
    TemplateSyntaxError,
    Undefined,
    UndefinedError,
    nodes,
    pass_context,
)
from jinja2.meta import find_undeclared_variables
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from graft_core.errors import InvalidInput

__all__ = ["MAX_RENDERED_CHARS", "PromptTemplate", "compile_template", "to_prompt_text"]

MAX_TEMPLATE_CHARS: Final = 16384
"""Same bound as the API's."""
MAX_RENDERED_CHARS: Final = 1_000_000
"""Longest prompt; far over any context window, far under what hurts."""
MAX_LOOP_ROUNDS: Final = 10_000
"""Rounds of all loops of one rendering together."""

MAX_JOINS: Final = 32
"""Operands of `~` and `+` in one template: each may copy a whole field."""

_BUDGET: Final = "graft_loop_budget"
_UNDEFINED_NAME: Final = re.compile(r"'(\w+)' is undefined")
_METHODS: Final = frozenset(
    {
        "endswith",
        "get",
        "items",
        "keys",
        "lower",
        "lstrip",
        "rstrip",
        "splitlines",
        "startswith",
        "strip",
        "title",
        "upper",
        "values",
    }
)
"""Methods a template may call: none makes its output longer than its input by more than a factor."""
_NODES: Final = (
    nodes.Template,
    nodes.Output,
    nodes.TemplateData,
    nodes.Name,
    nodes.Const,
    nodes.List,
    nodes.Tuple,
    nodes.Getattr,
    nodes.Getitem,
    nodes.Slice,
    nodes.Filter,
    nodes.Test,
    nodes.Call,
    nodes.If,
    nodes.CondExpr,
    nodes.And,
    nodes.Or,
    nodes.Not,
    nodes.Compare,
    nodes.Operand,
    nodes.Concat,
    nodes.Add,
    nodes.Sub,
    nodes.Neg,
    nodes.For,
)


def to_prompt_text(value: object) -> str:
    """Write a value as it stands in a prompt: text as it is, null as nothing, everything else as compact JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "))


def _finalize(value: object) -> object:
    # An undefined value must reach Jinja's own str(), which raises and names it.
    return value if isinstance(value, Undefined) else to_prompt_text(value)


def _join(values: Iterable[object], separator: str = "") -> str:
    texts = [to_prompt_text(value) for value in values]
    if sum(map(len, texts)) + len(separator) * len(texts) > MAX_RENDERED_CHARS:
        raise InvalidInput(
            f"task.template: a joined list is over {MAX_RENDERED_CHARS} characters", path="spec.task.template"
        )
    return separator.join(texts)


@pass_context
def _bounded(context: Context, values: Iterable[object]) -> Iterator[object]:
    budget: list[int] = context[_BUDGET]
    for value in values:
        budget[0] -= 1
        if budget[0] < 0:
            raise InvalidInput(f"task.template: more than {MAX_LOOP_ROUNDS} loop rounds", path="spec.task.template")
        yield value


def _make_environment() -> ImmutableSandboxedEnvironment:
    env = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, finalize=_finalize, keep_trailing_newline=True, autoescape=False
    )
    kept = (
        "capitalize",
        "default",
        "d",
        "first",
        "last",
        "length",
        "count",
        "lower",
        "sort",
        "title",
        "trim",
        "unique",
        "upper",
    )
    filters: dict[str, Callable[..., object]] = {name: env.filters[name] for name in kept}
    closed: dict[str, Callable[..., object]] = {
        **filters,
        "join": _join,
        "tojson": to_prompt_text_json,
        "string": to_prompt_text,
        "graft_bounded": _bounded,
    }
    env.filters.clear()
    env.filters.update(closed)
    env.globals.clear()
    return env


def to_prompt_text_json(value: object) -> str:
    """Filter `tojson`: JSON without HTML escapes; texts are quoted."""
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "))


class PromptTemplate:
    """A compiled template; thread-safe."""

    def __init__(self, source: str) -> None:
        env = _make_environment()
        try:
            tree = env.parse(source)
            # First of all: Jinja folds constants while it looks for variables, so 9 ** 9 ** 9 would already run.
            _check_nodes(tree)
            self.variables: frozenset[str] = frozenset(find_undeclared_variables(tree))
            for loop in list(tree.find_all(nodes.For)):
                loop.iter = nodes.Filter(loop.iter, "graft_bounded", [], [], None, None).set_lineno(loop.lineno)
            code = env.compile(tree)
        except (RecursionError, SyntaxError) as err:
            raise InvalidInput("task.template is nested too deeply", path="spec.task.template") from err
        except TemplateSyntaxError as err:
            raise InvalidInput(f"task.template line {err.lineno}: {err.message}", path="spec.task.template") from err
        self._template = Template.from_code(env, code, {})

    def render(self, fields: dict[str, object]) -> str:
        """Fill in the fields.

        Args:
            fields: JSON values by name.

        Returns:
            The text, at most MAX_RENDERED_CHARS long.

        Raises:
            InvalidInput: A variable is missing, an operation does not fit a value, or a limit is passed. Values are not quoted.
        """
        parts: list[str] = []
        left = MAX_RENDERED_CHARS
        try:
            for part in self._template.generate({**fields, _BUDGET: [MAX_LOOP_ROUNDS]}):
                left -= len(part)
                if left < 0:
                    raise InvalidInput(
                        f"task.template: the prompt is over {MAX_RENDERED_CHARS} characters", path="spec.task.template"
                    )
                parts.append(part)
        except UndefinedError as err:
            raise InvalidInput(_tell_missing(err, fields), path="spec.task.template") from err
        except TemplateError as err:
            raise InvalidInput(
                f"task.template: {err.message or type(err).__name__}", path="spec.task.template"
            ) from err
        except (TypeError, ValueError, AttributeError, RecursionError) as err:
            # The text of these may quote a field's value; their type may not.
            raise InvalidInput(
                f"task.template: an operation does not fit the type of a field ({type(err).__name__})",
                path="spec.task.template",
            ) from err
        return "".join(parts)


def _tell_missing(err: UndefinedError, fields: dict[str, object]) -> str:
    name = _UNDEFINED_NAME.match(err.message or "")
    if name is None:
        return f"task.template: {err.message}"
    return f"task.template names {name[1]!r}, which the input does not have; it has {sorted(fields)[:10]!r}"


def _check_nodes(tree: nodes.Template) -> None:
    joins = sum(len(node.nodes) for node in tree.find_all(nodes.Concat)) + sum(1 for _ in tree.find_all(nodes.Add))
    if joins > MAX_JOINS:
        raise TemplateSyntaxError(
            f"{joins} operands of ~ and +, at most {MAX_JOINS} fit in a prompt template", tree.lineno or 1
        )
    for node in tree.find_all(nodes.Node):
        if isinstance(node, nodes.Getattr) and node.attr.startswith("_"):
            raise TemplateSyntaxError(f"{node.attr!r}: names that start with _ are not allowed", node.lineno)
        if isinstance(node, nodes.For) and node.recursive:
            raise TemplateSyntaxError("recursive loops are not allowed in a prompt template", node.lineno)
        if isinstance(node, nodes.Call):
            target = node.node
            if not isinstance(target, nodes.Getattr) or target.attr not in _METHODS:
                raise TemplateSyntaxError(
                    f"only these may be called in a prompt template: {', '.join(sorted(_METHODS))}", node.lineno
                )
        elif isinstance(node, nodes.Name) and node.name.startswith("graft_"):
            raise TemplateSyntaxError(f"{node.name!r} is a reserved name", node.lineno)
        elif isinstance(node, nodes.Filter) and node.name == "graft_bounded":
            raise TemplateSyntaxError("no filter named 'graft_bounded'", node.lineno)
        elif isinstance(node, nodes.Expr | nodes.Stmt | nodes.Helper) and not isinstance(node, (*_NODES, nodes.Helper)):
            raise TemplateSyntaxError(f"{type(node).__name__.lower()} is not allowed in a prompt template", node.lineno)


@lru_cache(maxsize=256)
def compile_template(source: str) -> PromptTemplate:
    """Compile a template, or return the one compiled before.

    Raises InvalidInput: The template is too long, is not Jinja, or uses what prompts may not; the message has the line.
    """
    if len(source) > MAX_TEMPLATE_CHARS:
        raise InvalidInput(
            f"task.template has {len(source)} characters, at most {MAX_TEMPLATE_CHARS} fit", path="spec.task.template"
        )
    return PromptTemplate(source)
