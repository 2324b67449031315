"""Rules that see the whole answer before anybody else does."""

from collections.abc import Awaitable, Callable

from graft_core.api.v1alpha1.serving import GuardrailsSpec, OnError, OutputRule
from graft_core.api.v1alpha1.task import TaskSpec, TaskType
from graft_core.errors import InvalidInput, NotSupported
from graft_core.tasks.outputs import parse_output
from graft_core.telemetry.logs import get_log
from graft_predictor.guards.base import GuardrailBlocked, GuardVerdict

__all__ = ["OutputGuards", "Repair"]

_log = get_log(__name__)


Repair = Callable[[str, tuple[str, ...]], Awaitable[str]]
"""Asks the model once more, with the faults of the last answer."""


class OutputGuards:
    """The chain of output rules."""

    def __init__(self, spec: GuardrailsSpec, task: TaskSpec) -> None:
        """Take the rules.

        Args:
            spec: spec.guardrails.
            task: Has the output schema.

        Raises:
            NotSupported: A rule that this version does not have.
            InvalidInput: json-schema on a task that has no JSON answers.
        """
        self._spec = spec
        self._task = task
        for i, rule in enumerate(spec.output):
            path = f"guardrails.output[{i}].type"
            if rule.type != "json-schema":
                raise NotSupported(
                    f"{path}: {rule.type!r} is not supported in this version; remove the rule", path=path
                )
            if task.type is not TaskType.TEXT_TO_JSON:
                raise InvalidInput(
                    f"{path}: 'json-schema' needs a task of type 'text-to-json', this one is {task.type.value!r}",
                    path=path,
                )

    @property
    def needs_whole_answer(self) -> bool:
        """True where a streamed answer must wait for its end."""
        return bool(self._spec.output)

    async def check(self, answer: str, repair: Repair) -> tuple[str, list[GuardVerdict]]:
        """Run the rules in order.

        Raises GuardrailBlocked where the answer breaks a rule and could not be repaired, or a rule failed while it is onError closed.

        Args:
            answer: Nobody has seen it yet.
            repair: As the type says.

        Returns:
            The answer, repaired where it had to be, and a verdict for each rule.
        """
        verdicts: list[GuardVerdict] = []
        for rule in self._spec.output:
            answer, verdict = await self._check_rule(rule, answer, repair)
            verdicts.append(verdict)
        return answer, verdicts

    async def _check_rule(self, rule: OutputRule, answer: str, repair: Repair) -> tuple[str, GuardVerdict]:
        repairs = (rule.max_repairs or 1) if rule.action == "repair" else 0
        faults: tuple[str, ...] | None = ()
        for attempt in range(repairs + 1):
            faults = self._faults(rule, answer)
            if faults is None:
                return answer, GuardVerdict(rule.type, "error")
            if not faults:
                return answer, GuardVerdict(rule.type, "repaired" if attempt else "pass")
            if attempt < repairs:
                answer = await repair(answer, faults)
        raise GuardrailBlocked(
            f"the model's answer does not keep the task's output schema ({'; '.join(faults or ())[:300]}); ask again, or in other words",
            verdict=GuardVerdict(rule.type, "block"),
        )

    def _faults(self, rule: OutputRule, answer: str) -> tuple[str, ...] | None:
        """Return the faults, or None where the guard itself failed and may be passed."""
        try:
            return parse_output(self._task, answer).faults
        except Exception as err:  # whatever breaks a guard, its onError decides
            _log.failure("output_guard_failed", err, rule=rule.type)
            if (rule.on_error or self._spec.on_error) is OnError.OPEN:
                return None
            raise GuardrailBlocked(
                f"the guardrail {rule.type!r} failed and is set to refuse then",
                verdict=GuardVerdict(rule.type, "error"),
            ) from err
