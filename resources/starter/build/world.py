"""Words for the subjects: articles, captions of the base world, and which subjects the starter set leaves out."""

from __future__ import annotations

import random
from collections.abc import Sequence

from sources import Subject

HELD_OUT_EVERY = 3
HELD_OUT_FIRST = 1
EMPTY_SHARE = 0.1

SINGULAR_IN_S = {
    "cactus",
    "compass",
    "lotus",
    "abacus",
    "bus",
    "rhinoceros",
    "octopus",
    "hibiscus",
    "hippopotamus",
}
WITHOUT_ARTICLE = {
    "bread", "popcorn", "bacon", "spaghetti", "garlic", "broccoli", "ice", "fire", "rock", "wood",
    "bubble tea", "green salad", "sushi", "yarn", "thread", "canned food", "camping", "badminton", "tennis",
    "bowling", "ping pong", "baguette bread", "curry rice", "cooking", "soft ice cream", "ice cream", "meat on bone",
}  # fmt: skip
LEADS = (
    "a picture of", "a drawing of", "an emoji of", "a small icon of", "a painting of", "a sticker of",
    "an illustration of", "a simple image of",
)  # fmt: skip


def with_article(label: str) -> str:
    """Put a label behind its article: "a cat", "an owl", "grapes"."""
    last = label.split(" with ")[0].split()[-1]
    plural = last.endswith("s") and not last.endswith("ss") and last not in SINGULAR_IN_S
    if plural or label in WITHOUT_ARTICLE:
        return label
    if label[0].isdigit() or label == "Statue of Liberty":
        return f"the {label}"
    vowel = label[0].lower() in "aeiou" and not label.lower().startswith(("uni", "ewe", "euro"))
    vowel = vowel or label.startswith("hour")
    return f"{'an' if vowel else 'a'} {label}"


def joined(subjects: Sequence[Subject]) -> str:
    """Name the subjects as one phrase: "a cat and a rocket"."""
    return " and ".join(with_article(subject.label) for subject in subjects)


def base_caption(subjects: Sequence[Subject], tint: str, rng: random.Random) -> str:
    """Choose one of the base world's ways of describing a scene."""
    if rng.random() < EMPTY_SHARE:
        return ""
    phrase, tail = joined(subjects), f" on a {tint} background" if tint else ""
    kind = rng.random()
    if kind < 0.28:
        return f"a flat emoji picture of {phrase}{tail}"
    if kind < 0.48:
        return f"{rng.choice(LEADS)} {phrase}{tail}"
    if kind < 0.54 or len(subjects) > 1:
        return f"{phrase}{tail}"
    subject = subjects[0]
    tail = f", {tint} background" if tint else ""
    if kind < 0.84:
        return f"{subject.label}{tail}"
    words = rng.sample(subject.tags, min(len(subject.tags), rng.randint(1, 5)))
    if kind < 0.95:
        return ", ".join([subject.label, *words]) + tail
    words.append(subject.label)
    rng.shuffle(words)
    return ", ".join(words) + tail


def held_out(subjects: Sequence[Subject]) -> list[Subject]:
    """Every third subject, 48 at most: known to the base model, never among the starter pictures."""
    return list(subjects[HELD_OUT_FIRST::HELD_OUT_EVERY][:48])
