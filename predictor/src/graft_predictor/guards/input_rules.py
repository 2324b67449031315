"""Rules that see the prompt before the caches and the engine do."""

from collections.abc import Callable, Sequence

from graft_core.api.v1alpha1.serving import GuardrailsSpec, InputRule, OnError
from graft_core.errors import NotSupported
from graft_core.telemetry.logs import get_log
from graft_predictor.guards.base import GuardrailBlocked, GuardVerdict

__all__ = ["InputGuards"]

_log = get_log(__name__)


class InputGuards:
    """The chain of input rules."""

    def __init__(self, spec: GuardrailsSpec) -> None:
        """Take the rules.

        Args:
            spec: spec.guardrails.

        Raises:
            NotSupported: A rule that this version does not have.
        """
        self._spec = spec
        for i, rule in enumerate(spec.input):
            if rule.type != "max-tokens":
                raise NotSupported(
                    f"guardrails.input[{i}].type: {rule.type!r} is not supported in this version; remove the rule",
                    path=f"guardrails.input[{i}].type",
                )

    def check(self, count_tokens: Callable[[], int]) -> Sequence[GuardVerdict]:
        """Run the rules in order; raises GuardrailBlocked where one refuses the prompt, or fails while it is onError closed.

        Args:
            count_tokens: Tokens of the prompt; called only where a rule needs them.

        Returns:
            A verdict for each rule.
        """
        return [self._check_rule(rule, count_tokens) for rule in self._spec.input]

    def _check_rule(self, rule: InputRule, count_tokens: Callable[[], int]) -> GuardVerdict:
        try:
            tokens = count_tokens()
        except Exception as err:  # whatever breaks a guard, its onError decides
            verdict = GuardVerdict(rule.type, "error")
            _log.failure("input_guard_failed", err, rule=rule.type)
            if (rule.on_error or self._spec.on_error) is OnError.OPEN:
                return verdict
            raise GuardrailBlocked(
                f"the guardrail {rule.type!r} failed and is set to refuse then", verdict=verdict
            ) from err
        limit = rule.max or 0
        if tokens > limit:
            raise GuardrailBlocked(
                f"messages: the prompt has {tokens} tokens, guardrail max-tokens allows {limit}; shorten it",
                verdict=GuardVerdict(rule.type, "block"),
            )
        return GuardVerdict(rule.type, "pass")
