"""The acts: each applies files, waits for what must come, and checks it. What is checked here is what the demo promises."""

import contextlib
from typing import TYPE_CHECKING

from graft_operator.demo.board import Act
from graft_operator.demo.stage import RELEASE_TIMEOUT_S, ActFailed, Stage
from graft_operator.local.fields import Json, child, children, number, text

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionMessageParam

__all__ = ["ACTS", "canary", "language", "refuse", "release", "roll_back", "train"]

MESSAGES, SHOP, BETTER, WORSE, WRONG = (
    "01-classify-messages",
    "02-shop-query-json",
    "03-canary",
    "04-gate-fails",
    "05-rollback",
)
WIDE_MARGIN = 0.3
"""By how much JSON validity and completeness must beat the untuned base."""

ASKED = (
    "I was charged twice for the same order this month",
    "The parcel says delivered but nothing is here",
    "How do I reset the password of my account?",
)
ASKED_SHOP = ("shop có bán ba lô chống nước không", "tìm giúp mình áo khoác màu đen")


def ACTS() -> list[Act]:  # noqa: N802  # a fresh list of the constant cast
    """Return the acts in the order they are told, all waiting."""
    return [
        Act(
            "train", "train and prove: customer messages on MiniLM", "every gate passes, and the untuned base is beaten"
        ),
        Act("release", "release it, and ask", "the first revision serves, and the stock openai client is answered"),
        Act(
            "language",
            "language: Vietnamese shop query to JSON",
            "validity and completeness beat the untuned base by a wide margin; it is served",
        ),
        Act("canary", "a better adapter, by canary under traffic", "promoted step by step, no request lost"),
        Act("refuse", "a worse adapter", "its gate fails, the release refuses it, what runs is not touched"),
        Act(
            "rollback",
            "an adapter that is right on its own data, slow and wrong in service",
            "the canary rolls it back, no request lost",
        ),
    ]


def train(stage: Stage) -> None:
    """Act 1."""
    with stage.act("train") as act:
        stage.apply(MESSAGES, only="FineTuneJob")
        status = stage.wait_for_job("messages", "Succeeded")
        tuned, base = float(text(status, "metrics", "accuracy")), float(text(status, "baselines", "base", "accuracy"))
        act.facts = {"accuracy": tuned, "baseAccuracy": base, "digest": text(status, "artifact", "digest")}
        act.happened = f"accuracy {tuned:.3f}, untuned {base:.3f}; {_short(status)} published"
        if tuned <= base:
            raise ActFailed(f"accuracy {tuned} does not beat the untuned base's {base}")


def release(stage: Stage) -> None:
    """Act 2."""
    with stage.act("release") as act:
        stage.apply(MESSAGES, only="ModelRelease")
        stage.apply(BETTER, only="FineTuneJob")  # the next act's: it trains while this one's model is loaded and asked
        status = stage.wait_for_release("messages", "messages")
        act.facts["answers"] = ask(stage, "messages", ASKED, act)
        act.facts["revision"] = text(status, "stable", "revision")
        act.happened = f"revision {text(status, 'stable', 'revision')} answers at {stage.base_url('messages')}"


def language(stage: Stage) -> None:
    """Act 3: the base model is made first, so that `file:` in the example finds it."""
    with stage.act("language") as act:
        path = stage.make_shop_base()
        stage.board.note(
            "language",
            f"base model {'found in the cache' if stage.board.base_model.get('cached') else 'trained'}: {path.name}",
        )
        stage.apply(SHOP, only="FineTuneJob")
        stage.apply(WRONG, only="FineTuneJob")  # act 6's: it trains beside this one
        status = stage.wait_for_job("shop-queries", "Succeeded")
        metrics, base = child(status, "metrics"), child(status, "baselines", "base")
        for name in ("json_validity", "field_completeness"):
            act.facts[name] = {"tuned": float(text(metrics, name)), "base": float(text(base, name))}
            if float(text(metrics, name)) < float(text(base, name)) + WIDE_MARGIN:
                raise ActFailed(
                    f"{name} {metrics[name]} does not beat the untuned base's {base[name]} by {WIDE_MARGIN}"
                )
        act.happened = f"valid JSON {metrics['json_validity']} (base {base['json_validity']}), complete {metrics['field_completeness']} (base {base['field_completeness']})"
        stage.apply(SHOP, only="ModelRelease")
        stage.wait_for_release("shop-queries", "shop-queries")
        act.facts["answers"] = ask(stage, "shop-queries", ASKED_SHOP, act, stream=True)


def canary(stage: Stage) -> None:
    """Act 4."""
    with stage.act("canary") as act:
        stage.apply(WORSE, only="FineTuneJob")  # act 5's
        stage.wait_for_job("messages-v2", "Succeeded")
        with contextlib.closing(_Asking(stage, "messages", MESSAGES, per_second=8)) as asking:
            stage.apply(BETTER, only="ModelRelease")
            status = stage.wait_for_release("messages", "messages-v2")
        act.facts["traffic"] = asking.figures
        _no_request_lost(asking.figures)
        _must_have(status, "Promoted", text(status, "stable", "revision"))
        act.happened = f"{text(status, 'stable', 'revision')} promoted; {asking.figures['sent']} requests, 0 failed"


def refuse(stage: Stage) -> None:
    """Act 5."""
    with stage.act("refuse") as act:
        before = text(stage.board.objects["modelrelease/messages"], "status", "stable", "revision")
        status = stage.wait_for_job("messages-mislabelled", "GatesFailed")
        failed = [g for g in children(status, "gates") if text(g, "result") != "Pass"]
        stage.apply(WORSE, only="ModelRelease")
        obj = stage.wait_for(
            "modelrelease/messages", _is_refused, timeout_s=60, what="refused (ArtifactVerified=False)"
        )
        after = child(obj, "status", "stable")
        if text(after, "revision") != before or number(after, "weight") != 100:
            raise ActFailed(f"what runs was touched: {before} at 100 became {after}")
        act.facts = {"gates": failed, "stable": before}
        act.happened = f"{text(failed[0], 'metric')} {text(failed[0], 'value')}: {text(failed[0], 'result')}; {before} goes on serving"


def roll_back(stage: Stage) -> None:
    """Act 6."""
    with stage.act("rollback") as act:
        before = text(stage.board.objects["modelrelease/shop-queries"], "status", "stable", "revision")
        stage.wait_for_job("shop-queries-verbose", "Succeeded")
        with contextlib.closing(_Asking(stage, "shop-queries", SHOP, per_second=4)) as asking:
            stage.apply(WRONG, only="ModelRelease")
            obj = stage.wait_for(
                "modelrelease/shop-queries",
                lambda o: text(o, "status", "phase") == "RolledBack",
                timeout_s=RELEASE_TIMEOUT_S,
                what="RolledBack",
            )
        status = child(obj, "status")
        last, stable = children(status, "history")[-1], child(status, "stable")
        act.facts = {"traffic": asking.figures, "history": last}
        _no_request_lost(asking.figures)
        if text(stable, "revision") != before or number(stable, "weight") != 100:
            raise ActFailed(f"{before} should serve at 100; stable is {stable}")
        _must_have(status, "RolledBack", text(last, "revision"))
        act.happened = f"{text(last, 'revision')} rolled back: {text(last, 'message')}; {asking.figures['sent']} requests, 0 failed"


class _Asking:
    """Traffic that is stopped on the way out, whatever happened."""

    def __init__(self, stage: Stage, release: str, folder: str, *, per_second: float) -> None:
        self._traffic = stage.traffic(release, folder, per_second=per_second)
        self.figures: Json = {}
        self._traffic.start()

    def close(self) -> None:
        self.figures = self._traffic.stop()


def ask(
    stage: Stage, release: str, questions: tuple[str, ...], act: Act, *, stream: bool = False
) -> list[dict[str, str]]:
    """Ask through the stock openai client and note the answers."""
    import openai  # an extra: `pip install graft-operator[demo]`

    client = openai.OpenAI(base_url=stage.base_url(release), api_key="-", max_retries=0, timeout=30)
    answers: list[dict[str, str]] = []
    for question in questions:
        messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": question}]
        if stream:
            chunks = client.chat.completions.create(model=release, messages=messages, temperature=0, stream=True)
            answer = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        else:
            answer = (
                client.chat.completions.create(model=release, messages=messages, temperature=0)
                .choices[0]
                .message.content
                or ""
            )
        if not answer:
            raise ActFailed(f"{release} gave an empty answer")
        answers.append({"question": question, "answer": answer})
        stage.board.note(act.name, f"{question!r} -> {answer}")
    return answers


def _short(status: Json) -> str:
    return text(status, "artifact", "digest")[:19]


def _is_refused(obj: Json) -> bool:
    if number(obj, "status", "observedGeneration") != number(obj, "metadata", "generation"):
        return False
    conditions = children(obj, "status", "conditions")
    return any(text(c, "type") == "ArtifactVerified" and text(c, "status") == "False" for c in conditions)


def _no_request_lost(figures: Json) -> None:
    if number(figures, "failed") or not number(figures, "sent"):
        raise ActFailed(
            f"{number(figures, 'failed')} of {number(figures, 'sent')} requests failed: {figures['outcomes']}"
        )


def _must_have(status: Json, outcome: str, revision: str) -> None:
    history = children(status, "history")
    if not any(text(h, "outcome") == outcome and text(h, "revision") == revision for h in history):
        raise ActFailed(f"the history does not tell that {revision} was {outcome}: {history}")
