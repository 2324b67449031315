"""What the small base model of this example is taught: general instructions in Vietnamese, made up by a seeded generator.

Copying, finding a span in a sentence, naming its topic, lists, and JSON, each asked for in several ways. The shop task itself is kept
out: no `keyword`, no `is_in_scope`, no label for what does not belong. So the base can follow instructions and knows the words, and
still has to be tuned for the task.
"""

import json
import random
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from generate import DETAILS, PRODUCTS

__all__ = ["Conversation", "Turn", "conversations"]

Turn: TypeAlias = tuple[str, str]
"""What the user says, and the right answer."""

Conversation: TypeAlias = tuple[str, tuple[Turn, ...]]
"""System text (may be empty) and the turns."""

WORDS = """
ai anh ba bao bay biết biển buồn buổi bà bài bàn bác bán bánh bé bên bình bóng bông bút bước bạc bạn bảng bận bắc bắt
bằng bếp bỉm bị bố bộ bột bụi canh cao chia chim chiên chiều cho choàng chuyến chuyện chuột chân chén chính chó chùa
chú chúc chơi chưa chạy chảo chậm chết chị chọn chống chợ con cuối cuộc cá cách cái cáp cát câu cây còn có cô công cũ
cũng cơ cơm cười cảm cần cổ cỡ của cứng cứu cửa da dao dài dáng dân dây dép dính dùng dưới dạy dầu dặm dễ dịch dự em
ga ghế gia giao giày giá gió giúp giường giải giảm giấy giới giờ giữ gà gái gì gạo gấp gấu gần gặp gọn gối gỗ gợi gửi
hai hay hiểu hoa hàng hát hãng hình hôm hút hơn hương hẹn học hỏi hồ hồng hữu khi khoác khác khách khó khóc khô không
khăn khẩu khỏe kia kiệm kính kết kể kệ len loa loại ly là làm lá lâu lê lên lít lòng lô lúa lúc lưng lại lạnh lọc lớn
lửa mai mi minh miếng mua muối muốn màn màu máy mây mèo mình mùa mùi mũ mưa mắt mặt mẹ mềm mỗi một mới mở nam nay nghe
nghĩ nghỉ ngon ngoài ngày ngã người ngắn ngọt ngủ nhanh nhiêu nhiều nhà nhé nhìn như nhẫn nhập nhỏ nhớ những nào này
nóng nôi núi núm năm nước nấu nắng nồi nửa nữ phím phòng phút phương phải phố qua quà quê quên quạt quả quần quốc rau
rác râm rèm rượu rẻ rồi rộng rừng sang sao sau sinh siêu sách sáng sông sơ sạc sống sớm sợ sửa sữa tai tay thao thoại
thun thuốc tháng thì thích thông thùng thơ thảm thấy thầy thật thắt thẻ thế thể thịt thống thời thủ thủy thức tinh
tiếng tiết tiền tiệc trai trong trà trên trình trăng trước trường trải trắng trẻ trời trứng tuyết tuyển tuần tuổi tàu
tã tên tìm tình tính tôi túi tăng tư tươi tất tố tốc tối tốt tổng từ viết việc voi vui và vàng vào váy vé vì vườn vải
vấn vậy về với vừa xa xanh xay xe xem xin xuân xuống xách xóm xấu xếp yêu yếm áo ý ăn đang đau đen đi điện đá đèn đêm
đình đô đông đúng đưa đường được đất đầm đẩy đặt đẹp để địu đọc đỏ đồ đồng đội đời đỡ đủ đứng ơi ơn ướt ạ ấm ốp ồn ổ ở
ủi ứng
""".split()  # noqa: SIM905  # read as a text, a list of 600 lines says no more
"""Common syllables, the shop's among them: any base model of Vietnamese has seen those."""

ONSETS = (
    "b", "c", "ch", "d", "đ", "g", "gi", "h", "kh", "l", "m", "n", "nh", "ng", "ph", "qu", "r", "s", "t", "th", "tr", "v", "x", "",
)  # fmt: skip
RIMES = (
    "a", "á", "à", "ả", "ạ", "ai", "ái", "am", "an", "án", "ang", "anh", "ao", "áo", "ay", "ác", "ạc", "ăn", "ắt", "ặt", "âm", "ân", "ấp",
    "ật", "ầu", "e", "é", "em", "en", "ẻo", "ê", "ế", "ệ", "ên", "ếp", "i", "í", "ì", "ị", "ia", "iên", "iếng", "iệt", "iêu", "inh", "ít", "ịt",
    "o", "ó", "ò", "oa", "oài", "oi", "ỏi", "on", "ong", "óng", "ộ", "ô", "ố", "ồ", "ôi", "ồi", "ôm", "ôn", "ông", "ống", "ơ", "ở", "ơi", "ờ",
    "ơm", "ớp", "u", "ú", "ù", "ủ", "ụ", "ua", "uân", "ui", "um", "un", "ung", "uổi", "uyên", "uyết", "ư", "ữ", "ừ", "ưa", "ửa", "ước", "ương",
    "ượng", "ười", "ứt", "y", "ý", "ỹ", "ay", "ây", "ấy", "ầy", "óc", "ọc", "ốc", "ục", "ực", "ách", "ích",
)  # fmt: skip
PIECES = (
    "size",
    "iPhone",
    "Samsung",
    "bluetooth",
    "Nhật",
    "inch",
    "type",
    "GB",
    "mAh",
    "SJC",
    "cotton",
    "inox",
    "shop",
    "Pháp",
    "Anh",
)

NAMES = (
    "Lan",
    "Minh",
    "Hùng",
    "Thảo",
    "Quân",
    "Mai",
    "Phúc",
    "Ngọc",
    "Bình",
    "Hà",
    "Sơn",
    "Yến",
    "Dũng",
    "Trang",
    "Long",
    "Vy",
)
PLACES = (
    "Hà Nội", "Huế", "Sài Gòn", "Đà Nẵng", "Cần Thơ", "Vinh", "Đà Lạt", "Nha Trang", "Hải Phòng", "Phú Quốc", "Thái Lan", "nước Pháp",
    "Brazil", "nước Mỹ", "Hàn Quốc", "nước Lào",
)  # fmt: skip
TIMES = ("hôm nay", "ngày mai", "tối nay", "tuần này", "cuối tuần", "sáng mai", "hôm qua", "năm ngoái")

TOPICS: dict[str, tuple[str, ...]] = {
    "thời tiết": ("{t} trời {w} mưa ở {l}", "thời tiết {l} {t} nắng nóng", "{t} {l} có bão không", "mấy độ ở {l} {t}"),
    "thể thao": ("đội tuyển {l} thắng trận bóng đá {t}", "{n} đá bóng {t}", "kết quả trận đấu {t}", "đội {l} đá với đội {w}"),
    "địa lý": ("thủ đô của {l} là {w}", "{l} nằm ở đâu", "tổng thống của {l} là ai", "ai là vua của {l}"),
    "văn học": ("{n} viết bài thơ về mùa thu", "kể chuyện cười về {w}", "bài thơ về mẹ và quê hương", "chuyện con voi và con mèo"),
    "toán học": ("giải phương trình x + {d} = {d}", "{d} cộng {d} bằng mấy", "tính {d} * {d} - {d}", "phương trình {d}x = {d}"),
    "ngôn ngữ": ("dịch câu {w} sang tiếng Anh", "tiếng Pháp của {w} là gì", "câu {w} dịch thế nào"),
    "tài chính": ("giá vàng {l} tăng {t}", "vàng SJC giảm {t}", "lãi suất ngân hàng {l} {t}"),
    "đi lại": ("chuyến bay đi {l} {t}", "{n} đi tàu ra {l} {t}", "vé xe đi {l}"),
    "mua sắm": (
        "mua {g} ở {l}", "{n} cần {g} {w}", "giá {g} bao nhiêu tiền", "còn {g} {w} không", "shop có bán {g} {w} không", "đặt {g} giao {t}",
        "tìm {g}", "{g} {w} đang giảm giá", "cho mình xem {g}", "tư vấn {g} {w} với ạ",
    ),
}  # fmt: skip
GOODS = tuple(name for names in PRODUCTS.values() for name in names)
TRAITS = tuple(dict.fromkeys(trait for traits in DETAILS.values() for trait in traits))
"""The shop's words, without its task: any model of Vietnamese has read of rice cookers."""

BEFORE = (
    "shop ơi",
    "cho mình hỏi",
    "mình cần",
    "em muốn",
    "chị ơi",
    "bạn ơi",
    "anh cần",
    "nhà mình",
    "xin",
    "cho tôi",
    "tôi muốn",
    "hỏi chút",
)
AFTER = (
    "không ạ",
    "với",
    "nhé",
    "nha",
    "vậy",
    "gấp",
    "không shop",
    "đi ạ",
    "cho em",
    "làm quà",
    "giao hôm nay",
    "dưới 300k",
    "thế nào",
)

SPAN_FRAMES = (
    "{x}", "{a} {x}", "{x} {b}", "{a} {x} {b}", "{n} tìm {x} {b}", "{n} mua {x} ở {l}", "cho {n} hỏi {x} {b}", "{a} cần {x} {t}",
    "có {x} không", "{x} bao nhiêu tiền", "shop ơi còn {x} {b}", "giá {x} {b}", "mình muốn {x} {b}", "{n} bán {x} cho em",
)  # fmt: skip
COPY_ASKS = ("Nhắc lại", "Chép lại câu", "Lặp lại")
SPAN_ASKS = ("Sản phẩm trong câu", "Món hàng", "Tên hàng", "Tìm sản phẩm")
TOPIC_ASKS = ("Chủ đề của câu", "Chủ đề")
JSON_ASKS = ("Trả lời bằng JSON", "Viết JSON", "Trích xuất và trả lời bằng JSON", "Output JSON")
SPAN_KEYS = ("ten", "hang", "san_pham", "mon", "name", "item", "product")
COPY_KEYS = ("text", "cau", "noi_dung", "value")
FLAG_KEYS = ("is_new", "has_price", "da_ban", "is_open", "in_stock", "hop_le", "is_short")
LABELS = ("Câu", "Text", "Hỏi", "Input", "Query", "Khách")
SYSTEMS = (
    "",
    "",
    "Bạn là trợ lý.",
    "Trả lời ngắn gọn.",
    "Làm theo yêu cầu.",
    "Trích xuất thông tin từ câu.",
    "Trả lời bằng JSON.",
)

LONG_GOODS = 4
"""Words from which on a product name counts as long: what the flags in the JSON answers say."""

RANDOM_WORD_SHARE = 0.15
NUMBER_SHARE = 0.04
SHOPPING_SHARE = 0.8
STRANGE_SHARE = 0.3
"""Shares of the mixture, found by trying: enough strange words to learn copying as such, enough shopping to know its phrases."""


def conversations(seed: int) -> Iterator[Conversation]:
    """Make conversations without end; the same seed makes the same ones."""
    rng = random.Random(seed)
    while True:
        sentence, goods, topic = _sentence(rng)
        makers = (
            [_copy, _topic, _topic_json, _list]
            if goods is None
            else [_copy, _span, _span, _json, _json, _json, _topic, _topic_json]
        )
        turns = [rng.choice(makers)(rng, sentence, goods or "", topic) for _ in range(rng.choice((1, 2, 3)))]
        # The sentence is said once; further turns ask about it again, so that little text carries many answers.
        first = _first_ask(rng, sentence, turns[0][0])
        yield rng.choice(SYSTEMS), ((first, turns[0][1]), *turns[1:])


def _first_ask(rng: random.Random, sentence: str, ask: str) -> str:
    if rng.random() < 0.5:
        return f"{ask}: {sentence}"
    return f"{rng.choice(LABELS)}: {sentence}\n\n{ask}:"


def _sentence(rng: random.Random) -> tuple[str, str | None, str]:
    if rng.random() < SHOPPING_SHARE:
        goods = _goods(rng)
        frame, topic = rng.choice(SPAN_FRAMES + TOPICS["mua sắm"]), "mua sắm"
    else:
        goods, topic = None, rng.choice(list(TOPICS))
        frame = rng.choice(TOPICS[topic])
    text = frame.format(
        x=goods, g=goods or rng.choice(GOODS), a=_around(rng, BEFORE), b=_around(rng, AFTER), w=_words(rng, 1, 2), n=rng.choice(NAMES),
        l=rng.choice(PLACES), t=rng.choice(TIMES), d=rng.randint(1, 20),
    )  # fmt: skip
    if goods is None and rng.randrange(2):
        text = f"{_around(rng, BEFORE)} {text}"
    return text, goods, topic


def _goods(rng: random.Random) -> str:
    if rng.random() < STRANGE_SHARE:
        return _words(rng, 2, 5)
    name = rng.choice(GOODS)
    return f"{name} {rng.choice(TRAITS)}" if rng.randrange(4) else name


def _around(rng: random.Random, phrases: Sequence[str]) -> str:
    return _words(rng, 1, 2) if rng.random() < STRANGE_SHARE else rng.choice(phrases)


def _words(rng: random.Random, least: int, most: int) -> str:
    return " ".join(_word(rng) for _ in range(rng.randint(least, most)))


def _word(rng: random.Random) -> str:
    luck = rng.random()
    if luck < NUMBER_SHARE:
        return f"{rng.randint(1, 999)}{rng.choice(('', '', 'GB', 'k'))}"
    if luck < 2 * NUMBER_SHARE:
        return rng.choice(PIECES)
    if luck < 2 * NUMBER_SHARE + RANDOM_WORD_SHARE:
        return rng.choice(ONSETS) + rng.choice(RIMES)
    return rng.choice(WORDS)


def _copy(rng: random.Random, sentence: str, _goods: str, _topic: str) -> Turn:
    if rng.randrange(2):
        return rng.choice(COPY_ASKS), sentence
    key = rng.choice(COPY_KEYS)
    return f"{rng.choice(JSON_ASKS)} {key}", _dumps({key: sentence})


def _span(rng: random.Random, _sentence: str, goods: str, _topic: str) -> Turn:
    return rng.choice(SPAN_ASKS), goods


def _json(rng: random.Random, _sentence: str, goods: str, _topic: str) -> Turn:
    key = rng.choice(SPAN_KEYS)
    ask = f"{rng.choice(JSON_ASKS)} {key}"
    if not rng.randrange(3):
        return ask, _dumps({key: goods})
    flag = rng.choice(FLAG_KEYS)
    return f"{ask}, {flag}", _dumps({key: goods, flag: len(goods.split()) >= LONG_GOODS})


def _topic(rng: random.Random, _sentence: str, _goods: str, topic: str) -> Turn:
    return rng.choice(TOPIC_ASKS), topic


def _topic_json(rng: random.Random, _sentence: str, _goods: str, topic: str) -> Turn:
    return f"{rng.choice(JSON_ASKS)} topic", _dumps({"topic": topic})


def _list(rng: random.Random, sentence: str, _goods: str, _topic: str) -> Turn:
    return "Liệt kê từng từ" if rng.randrange(2) else "Tách từ", "\n".join(f"- {word}" for word in sentence.split()[:5])


def _dumps(fields: dict[str, str | bool]) -> str:
    return json.dumps(fields, ensure_ascii=False)
