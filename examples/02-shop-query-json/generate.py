"""Write the shop-query data set of this example: Vietnamese query in, search keyword and scope out, as JSON.

Every record is made up by this generator for this project: no customer wrote any of it. It is seeded and uses the standard library
alone, so the same call writes the same bytes everywhere. About 4 % of the queries are no shopping at all (`is_in_scope` false, empty
keyword): the rare class that a training run must not forget.

`--variant verbose` writes the same kind of queries under an older convention, in which the keyword was spread out into three search phrases. A
model tuned on it is right by its own test split, and wrong and long-winded for a service that follows today's convention.
"""

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path

__all__ = ["generate", "main"]

OUT_OF_SCOPE_SHARE = 0.04
"""Share of queries that are no shopping: what shop logs of this kind were reported to hold (3.9 %)."""

SEEDS = {"today": 42, "verbose": 43}
"""One seed a variant, so that the two files share no stream of random numbers."""

PRODUCTS: dict[str, tuple[str, ...]] = {
    "baby": (
        "sữa bột", "sữa tươi", "tã bỉm", "tã quần", "bình sữa", "xe đẩy", "ghế ăn dặm", "bột ăn dặm", "khăn ướt", "địu em bé",
        "đồ chơi xếp hình", "gấu bông", "núm ti", "máy hút sữa", "nôi điện", "yếm ăn", "sách vải", "thảm chơi",
    ),
    "fashion": (
        "áo khoác", "áo thun", "áo sơ mi", "quần jean", "quần short", "váy hoa", "đầm dự tiệc", "giày thể thao", "dép lê", "mũ len",
        "túi xách", "ba lô", "khăn choàng", "thắt lưng", "tất cổ ngắn", "kính râm", "áo mưa", "đồ ngủ",
    ),
    "home": (
        "nồi cơm điện", "chảo chống dính", "máy xay sinh tố", "bàn ủi", "quạt đứng", "máy lọc nước", "ấm siêu tốc", "bộ dao bếp",
        "nồi chiên không dầu", "ga trải giường", "gối cao su", "rèm cửa", "đèn bàn", "kệ sách", "máy hút bụi", "thùng rác", "ly thủy tinh",
    ),
    "tech": (
        "tai nghe", "chuột không dây", "bàn phím cơ", "sạc dự phòng", "cáp sạc", "loa mini", "ốp lưng", "đồng hồ thông minh",
        "máy tính bảng", "điện thoại", "màn hình", "thẻ nhớ", "giá đỡ điện thoại", "ổ cứng", "bút cảm ứng", "máy in",
    ),
}  # fmt: skip

DETAILS: dict[str, tuple[str, ...]] = {
    "baby": (
        "cho bé 6 tháng", "cho bé 1 tuổi", "cho bé 2 tuổi", "cho trẻ sơ sinh", "size M", "size L", "size XL", "loại mềm", "hữu cơ",
        "nhập khẩu Nhật", "không mùi", "cho bé gái", "cho bé trai", "loại tiết kiệm",
    ),
    "fashion": (
        "màu đen", "màu trắng", "màu đỏ", "màu xanh", "nam", "nữ", "size S", "size M", "size L", "chống nước", "cho mùa đông", "vải cotton",
        "da thật", "cỡ lớn", "dáng rộng",
    ),
    "home": (
        "1 lít", "2 lít", "1,8 lít", "inox", "loại nhỏ", "loại lớn", "màu trắng", "cho gia đình 4 người", "giá rẻ", "tiết kiệm điện",
        "chống ồn", "bằng gỗ", "có hẹn giờ",
    ),
    "tech": (
        "bluetooth", "64GB", "128GB", "chính hãng", "10000mAh", "chống ồn", "màu đen", "màu bạc", "cho iPhone", "cho Samsung", "type C",
        "loại nhỏ gọn", "sạc nhanh", "24 inch",
    ),
}  # fmt: skip

FRAMES = (
    "{p}", "mua {p}", "tìm {p}", "tìm giúp mình {p}", "shop ơi còn {p} không ạ", "cho mình hỏi {p} giá bao nhiêu", "mình cần mua {p}",
    "em muốn đặt {p} giao hôm nay", "có {p} không shop", "{p} còn hàng không", "{p} bao nhiêu tiền vậy", "bán cho tôi {p} nhé",
    "chị ơi tư vấn giúp em {p} với", "shop có bán {p} không", "nhà mình đang cần {p} gấp", "giá {p} hôm nay thế nào", "đang giảm giá {p} phải không",
    "tôi muốn xem {p}", "gợi ý cho mình {p} dưới 500k", "còn {p} thì để lại cho em một cái", "xin giá {p} ạ", "anh cần {p} làm quà",
)  # fmt: skip

OUT_OF_SCOPE: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("{o} thời tiết {x} {t} thế nào", ("Hà Nội", "Sài Gòn", "Đà Nẵng", "Huế", "Cần Thơ", "Đà Lạt", "Hải Phòng")),
    ("{o} {t} {x} có mưa không", ("Hà Nội", "Sài Gòn", "Đà Nẵng", "Huế", "Cần Thơ", "Đà Lạt", "Hải Phòng")),
    ("{o} kết quả bóng đá {x} {t}", ("Việt Nam", "Thái Lan", "Brazil", "nước Anh", "Tây Ban Nha", "nữ quốc gia")),
    ("{o} đội tuyển {x} {t} đá với ai", ("Việt Nam", "Thái Lan", "Brazil", "nước Anh", "Tây Ban Nha", "nữ quốc gia")),
    ("{o} thủ đô của {x} là gì", ("nước Pháp", "nước Lào", "nước Úc", "Canada", "Thái Lan", "Brazil", "nước Ý")),
    ("{o} ai là tổng thống của {x}", ("nước Pháp", "nước Mỹ", "Brazil", "Hàn Quốc", "Indonesia")),
    ("{o} viết một bài thơ về {x}", ("mùa thu", "mẹ", "quê hương", "biển", "tình bạn", "thầy cô")),
    ("{o} kể chuyện cười về {x}", ("con mèo", "thầy cô", "hàng xóm", "con voi", "chú bộ đội")),
    ("{o} giải phương trình {x}", ("x + 2 = 7", "2x = 10", "x - 5 = 1", "3x + 1 = 4", "x * x = 9")),
    (
        "{o} dịch câu {x} sang tiếng Anh",
        ("chúc ngủ ngon", "tôi nhớ nhà", "trời hôm nay đẹp", "hẹn gặp lại", "cảm ơn bạn"),
    ),
    ("{o} giá vàng {x} {t} tăng hay giảm", ("trong nước", "thế giới", "SJC", "miếng", "nhẫn")),
    ("{o} {t} có chuyến bay đi {x} không", ("Hà Nội", "Phú Quốc", "Đà Nẵng", "Singapore", "Nha Trang")),
)

OPENINGS = ("cho hỏi", "bạn ơi", "này", "bot ơi", "làm ơn", "giúp mình", "ê")
TIMES = ("hôm nay", "ngày mai", "tối nay", "tuần này", "cuối tuần", "sáng mai", "hôm qua")


def main() -> None:
    """Write one variant, or all of them into `data/` beside this script."""
    parser = argparse.ArgumentParser(description="Write the shop-query data (made up, seeded).")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "data", help="folder to write to")
    parser.add_argument("--count", type=int, default=2000, help="records per file")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for variant, name in (("today", "queries.jsonl"), ("verbose", "queries-verbose.jsonl")):
        lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in generate(variant, args.count))
        (args.out / name).write_text("".join(lines), encoding="utf-8")


def generate(variant: str, count: int) -> list[dict[str, str]]:
    """Make `count` distinct records.

    Args:
        variant: `today` (keyword only) or `verbose` (three search phrases as keyword).
        count: Records wanted; the generator can phrase some hundred thousand.

    Returns:
        Records of the form `{"input": query, "output": JSON text}`, shuffled.
    """
    rng = random.Random(SEEDS[variant])
    strangers = round(count * OUT_OF_SCOPE_SHARE)
    inside = _distinct(_in_scope(rng), count - strangers)
    outside = _distinct(_out_of_scope(rng), strangers)
    records = []
    for query, keyword in [*inside.items(), *outside.items()]:
        shown = f"{keyword}, mua {keyword}, giá {keyword}" if variant == "verbose" and keyword else keyword
        answer = json.dumps({"keyword": shown, "is_in_scope": bool(keyword)}, ensure_ascii=False)
        records.append({"input": query, "output": answer})
    rng.shuffle(records)
    return records


def _distinct(pairs: Iterator[tuple[str, str]], count: int) -> dict[str, str]:
    found: dict[str, str] = {}
    while len(found) < count:
        query, keyword = next(pairs)
        found.setdefault(query, keyword)
    return found


def _in_scope(rng: random.Random) -> Iterator[tuple[str, str]]:
    kinds = list(PRODUCTS)
    while True:
        kind = rng.choice(kinds)
        keyword = f"{rng.choice(PRODUCTS[kind])} {rng.choice(DETAILS[kind])}"
        yield rng.choice(FRAMES).format(p=keyword), keyword


def _out_of_scope(rng: random.Random) -> Iterator[tuple[str, str]]:
    while True:
        frame, fillers = rng.choice(OUT_OF_SCOPE)
        yield frame.format(o=rng.choice(OPENINGS), t=rng.choice(TIMES), x=rng.choice(fillers)), ""


if __name__ == "__main__":
    main()
