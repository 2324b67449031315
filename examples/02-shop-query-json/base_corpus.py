"""What the small base model of this example is taught: general instructions in Vietnamese about a shop, made up by a seeded generator.

Finding a span in a sentence, copying it, naming a topic, lists, and JSON under other keys. The words of the shop are those of the task,
as they would be for any base model of Vietnamese; the task itself is kept out: no `keyword`, no `is_in_scope`, none of its out-of-scope
sentences and no label for them. So the base can follow instructions, and still has to be tuned for the task.
"""

import json
import random
from collections.abc import Iterator
from typing import TypeAlias

from generate import DETAILS, FRAMES, PRODUCTS

__all__ = ["Conversation", "Turn", "conversations"]

Turn: TypeAlias = tuple[str, str]
"""What the user says, and the right answer."""

Conversation: TypeAlias = tuple[str, tuple[Turn, ...]]
"""System text (may be empty) and the turns."""

TOPICS: dict[str, tuple[str, ...]] = {
    "trường học": ("lớp {d} có mấy học sinh", "thầy giáo dạy môn gì", "bài tập trang {d} làm thế nào", "khi nào thi học kỳ"),
    "sức khỏe": ("đau đầu thì uống thuốc gì", "chạy bộ {d} phút có tốt không", "ngủ {d} tiếng là đủ chưa", "bác sĩ khám lúc mấy giờ"),
    "nấu ăn": ("luộc trứng trong {d} phút", "canh chua cần những gì", "kho cá mấy phút thì chín", "cách nấu phở bò"),
    "giao thông": ("đường này có tắc không", "xe buýt số {d} đi đâu", "mấy giờ tàu chạy", "đi bộ {d} cây số mất bao lâu"),
    "âm nhạc": ("bài hát này của ai", "học đàn {d} tháng thì chơi được chưa", "mở nhạc nhẹ đi", "ca sĩ nào hát hay nhất"),
}  # fmt: skip
"""Sentences that are no shopping, of other fields than those the task calls out of scope."""

SPAN_ASKS = ("Sản phẩm trong câu", "Món hàng", "Tên hàng", "Tìm sản phẩm")
TOPIC_ASKS = ("Chủ đề của câu", "Chủ đề")
JSON_ASKS = ("Trả lời bằng JSON", "Viết JSON", "Trích xuất và trả lời bằng JSON", "Output JSON")
SPAN_KEYS = ("ten", "hang", "san_pham", "name", "item", "product")
FLAG_KEYS = ("con_hang", "has_price", "is_new", "in_stock")
LABELS = ("Câu", "Text", "Hỏi", "Input", "Query", "Khách")
SYSTEMS = ("", "Bạn là trợ lý.", "Trích xuất thông tin từ câu.", "Trả lời bằng JSON.")

SHOPPING_SHARE = 0.85
"""Share of sentences about goods."""


def conversations(seed: int) -> Iterator[Conversation]:
    """Make conversations without end; the same seed makes the same ones."""
    rng = random.Random(seed)
    while True:
        if rng.random() < SHOPPING_SHARE:
            kind = rng.choice(list(PRODUCTS))
            goods = f"{rng.choice(PRODUCTS[kind])} {rng.choice(DETAILS[kind])}"
            sentence, topic = rng.choice(FRAMES).format(p=goods), "mua sắm"
            makers = (_span, _span, _json, _json, _json, _copy, _topic)
        else:
            goods, topic = "", rng.choice(list(TOPICS))
            sentence = rng.choice(TOPICS[topic]).format(d=rng.randint(2, 40))
            makers = (_topic, _copy, _list, _topic_json)
        ask, answer = rng.choice(makers)(rng, sentence, goods, topic)
        yield rng.choice(SYSTEMS), ((_phrase(rng, ask, sentence), answer),)


def _phrase(rng: random.Random, ask: str, sentence: str) -> str:
    if rng.randrange(2):
        return f"{ask}: {sentence}"
    return f"{rng.choice(LABELS)}: {sentence}\n\n{ask}:"


def _copy(_rng: random.Random, sentence: str, _goods: str, _topic: str) -> Turn:
    return "Nhắc lại", sentence


def _span(rng: random.Random, _sentence: str, goods: str, _topic: str) -> Turn:
    return rng.choice(SPAN_ASKS), goods


def _json(rng: random.Random, sentence: str, goods: str, _topic: str) -> Turn:
    key = rng.choice(SPAN_KEYS)
    ask = f"{rng.choice(JSON_ASKS)} {key}"
    if not rng.randrange(3):
        return ask, _dumps({key: goods})
    flag = rng.choice(FLAG_KEYS)
    return f"{ask}, {flag}", _dumps({key: goods, flag: "không" in sentence})


def _topic(rng: random.Random, _sentence: str, _goods: str, topic: str) -> Turn:
    return rng.choice(TOPIC_ASKS), topic


def _topic_json(rng: random.Random, _sentence: str, _goods: str, topic: str) -> Turn:
    return f"{rng.choice(JSON_ASKS)} topic", _dumps({"topic": topic})


def _list(_rng: random.Random, sentence: str, _goods: str, _topic: str) -> Turn:
    return "Liệt kê từng từ", "\n".join(f"- {word}" for word in sentence.split()[:5])


def _dumps(fields: dict[str, str | bool]) -> str:
    return json.dumps(fields, ensure_ascii=False)
