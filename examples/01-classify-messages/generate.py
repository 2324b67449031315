"""Write the customer-message data set of this example: one message in, one of eight queues out.

Every message is made up by this generator for this project: no customer wrote any of it. It is seeded and uses the standard library
alone, so the same call writes the same bytes everywhere. The queues share their words on purpose (an order, a card and a parcel occur
in all of them); what tells them apart is what the customer wants.

`messages-mislabelled.jsonl` holds the same messages, half of them under a wrong queue: data that no gate should let through.
"""

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path

__all__ = ["generate", "main", "mislabel"]

SEED = 42
MISLABELLED_SHARE = 0.5
"""Share of messages under a wrong queue in the spoilt file."""

WANTS: dict[str, tuple[str, ...]] = {
    "billing": (
        "I was charged twice for {o}", "there are two payments for {o} on my card", "the amount on my statement is higher than the price of {o}",
        "please send me an invoice for {o}", "I need a VAT receipt for {o}", "my card was debited but {o} shows as unpaid",
        "why is there a fee of {m} on the bill for {o}", "{o} was billed in the wrong currency", "I want to pay for {o} with another card",
        "the receipt for {o} has the wrong company name", "you took {m} too much for {o}", "which payments do you accept for {o}",
    ),
    "shipping": (
        "where is {o}", "the tracking page of {o} has not moved since {d}", "{o} should have been here {d}",
        "the courier says he tried to deliver {o} but nobody rang", "how long does it take to deliver {o}", "can {o} arrive before {d}",
        "the parcel with {o} was left at the wrong house", "do you ship {o} abroad", "my parcel with {o} seems lost in transit",
        "what does express delivery of {o} cost", "the tracking number for {o} is unknown to the courier", "is {o} on its way yet",
    ),
    "returns": (
        "I want to send {o} back", "how do I return {o}", "{o} does not fit and I would like to exchange it", "please send a return label for {o}",
        "can I swap {o} for another size", "how many days do I have to give {o} back", "I changed my mind about {o}, who collects it",
        "may I bring {o} back to a shop", "does {o} have to be in the first box when I send it back", "I sent {o} back, did you get the parcel",
        "I would rather have {o} in another colour, can we exchange", "is returning {o} free of charge",
    ),
    "refund": (
        "when do I get my money back for {o}", "I am still waiting for the refund of {o}", "you promised to pay back {m} for {o}",
        "the refund for {o} never reached my card", "only part of the price of {o} was paid back", "please give me my money back for {o}",
        "I was refunded {m} less than I paid for {o}", "how long does the refund for {o} take", "can the refund of {o} go to another account",
        "I got a voucher for {o} but I want my money", "my bank sees no refund for {o}", "refund me for {o}",
    ),
    "damaged": (
        "{o} came broken", "the screen of {o} is cracked", "{o} does not switch on", "a part of {o} is missing", "{o} stopped working after {d}",
        "the box was crushed and {o} is scratched", "{o} smells burnt when plugged in", "there is a hole in {o}", "{o} makes a loud noise and gets hot",
        "{o} was leaking when I opened the parcel", "the zip of {o} tore {d}", "you sent {o} with a defect",
    ),
    "account": (
        "I cannot log in to see {o}", "please reset my password, I need to look at {o}", "the code to sign in never comes, I want to check {o}",
        "my account is locked since I bought {o}", "I want to change the e-mail on my profile, {o} is under the old one",
        "please delete my account, {o} was my last purchase", "someone else signed in and saw {o}", "how do I merge two accounts, {o} is in the other",
        "I forgot my user name and {o} is in there", "my profile shows the wrong phone number for {o}", "the app logs me out when I open {o}",
        "turn on two-step sign-in for me before I buy {o}",
    ),
    "cancel": (
        "please cancel {o}", "I ordered {o} by mistake, stop it", "do not send {o}, I no longer need it", "can I still call off {o}",
        "I clicked twice, drop one of them: {o}", "cancel {o} before it leaves the warehouse", "I found {o} cheaper, so cancel mine",
        "how do I withdraw the order of {o}", "stop {o}, I picked the wrong thing", "I would like to cancel my subscription for {o}",
        "is it too late to cancel {o}", "the cancel button for {o} is grey",
    ),
    "product": (
        "does {o} come in other colours", "what size is {o}", "is {o} waterproof", "when will {o} be in stock again", "how much does {o} weigh",
        "what is {o} made of", "does {o} work with my phone", "is there a guarantee on {o}", "which is better for a gift, this or {o}",
        "do you have a manual for {o}", "how do I clean {o}", "is {o} suitable for children",
    ),
}  # fmt: skip

ITEMS = (
    "the headphones", "the winter coat", "the rice cooker", "the running shoes", "the desk lamp", "the backpack", "the blender", "the tent",
    "the phone case", "the armchair", "the tablet", "the kettle", "the bike helmet", "the wool blanket", "the keyboard", "the water bottle",
    "the toy train", "the raincoat", "the camera", "the bookshelf",
)  # fmt: skip

CONTEXTS = (
    "{i}", "{i}", "{i} I bought {d}", "{i} from order {n}", "{i} I ordered {d}", "{i} I paid {m} for", "{i} for my daughter",
    "{i} from your summer sale",
)  # fmt: skip
TIMES = (
    "last Monday",
    "yesterday",
    "two weeks ago",
    "on Friday",
    "in March",
    "three days ago",
    "this morning",
    "before the holidays",
)
OPENINGS = (
    "",
    "",
    "",
    "Hi, ",
    "Hello, ",
    "Good morning, ",
    "Dear team, ",
    "Quick question: ",
    "Hey, ",
    "Third time I ask: ",
)
CLOSINGS = ("", "", "", ". Thanks!", ". Please help.", ", order {n}.", ". I paid by card, by the way.", ". The parcel came on time otherwise.",
            ". I am a long-time customer.", " ???")  # fmt: skip


def main() -> None:
    """Write both files into `data/` beside this script, or where `--out` says."""
    parser = argparse.ArgumentParser(description="Write the customer messages (made up, seeded).")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "data", help="folder to write to")
    parser.add_argument("--count", type=int, default=1200, help="records per file")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    messages = generate(args.count)
    for name, records in (("messages.jsonl", messages), ("messages-mislabelled.jsonl", mislabel(messages))):
        lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        (args.out / name).write_text("".join(lines), encoding="utf-8")


def generate(count: int) -> list[dict[str, str]]:
    """Make `count` distinct messages, the same number for each queue, shuffled.

    Args:
        count: Records wanted; rounded down to a multiple of the eight queues.

    Returns:
        Records of the form `{"text": message, "label": queue}`.
    """
    rng = random.Random(SEED)
    records: list[dict[str, str]] = []
    seen: set[str] = set()
    for label in WANTS:
        phrases = (text for text in _messages(rng, label) if text not in seen)
        for _ in range(count // len(WANTS)):
            text = next(phrases)
            seen.add(text)
            records.append({"text": text, "label": label})
    rng.shuffle(records)
    return records


def mislabel(records: list[dict[str, str]]) -> list[dict[str, str]]:
    """The same messages, with a fixed share of them under a queue that is not theirs."""
    rng = random.Random(SEED + 1)
    queues = list(WANTS)
    spoilt = set(rng.sample(range(len(records)), round(len(records) * MISLABELLED_SHARE)))
    return [
        {"text": record["text"], "label": rng.choice([queue for queue in queues if queue != record["label"]])}
        if index in spoilt
        else record
        for index, record in enumerate(records)
    ]


def _messages(rng: random.Random, label: str) -> Iterator[str]:
    while True:
        item = rng.choice(CONTEXTS).format(i=rng.choice(ITEMS), d="{d}", m="{m}", n="{n}")
        want = rng.choice(WANTS[label]).replace("{o}", item)
        text = rng.choice(OPENINGS) + want + rng.choice(CLOSINGS)
        facts = {"d": rng.choice(TIMES), "m": f"{rng.randint(3, 90)} euros", "n": f"#{rng.randint(1000, 9999)}"}
        text = text.format(**facts)
        yield text[0].upper() + text[1:]


if __name__ == "__main__":
    main()
