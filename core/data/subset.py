"""Subset: the pictures of an index that have some tags or words, and what they are called when copied out."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.data import source
from core.data.archives import SUFFIX
from core.data.caption_files import NATURAL_SUFFIX, TAGS_SUFFIX, distinct_tags
from core.data.index import Index, Picture
from core.data.tag_rules import key_of


@dataclass(frozen=True, slots=True)
class Selection:
    """Which pictures: those that have all of `tags`, none of `without`, and `text` in path or captions.

    Tags are compared without regard to capitals, and _ is a blank; * stands for any letters ("*_hair"). Without
    anything it is all pictures.
    """

    tags: Sequence[str] = ()
    without: Sequence[str] = ()
    text: str = ""


def select(index: Index, selection: Selection) -> Iterator[Picture]:
    """The usable pictures of a selection, folder by folder in order of path."""
    wanted = [_matcher(tag) for tag in selection.tags]
    unwanted = [_matcher(tag) for tag in selection.without]
    text = selection.text.casefold()
    for picture in index.pictures():
        if text and not any(text in part.casefold() for part in (picture.path, picture.tags, picture.natural)):
            continue
        if wanted or unwanted:
            tags = {key_of(tag) for tag in distinct_tags(picture.tags)}
            if not all(match(tags) for match in wanted) or any(match(tags) for match in unwanted):
                continue
        yield picture


def _matcher(tag: str) -> Callable[[set[str]], bool]:
    """Whether some of a picture's tags is this one."""
    key = key_of(tag)
    if "*" not in key:
        return lambda tags: key in tags
    pattern = re.compile(".*".join(map(re.escape, key.split("*"))))
    return lambda tags: any(pattern.fullmatch(one) for one in tags)


class Names:
    """Names for copies of pictures: their path below the folder that they were found in, the same at every call."""

    def __init__(self, roots: Sequence[Path], flat: bool = False) -> None:
        """
        Args:
            roots: The folders of the index. With several, each has a folder of its name in the copy.
            flat: All in one folder, as kohya's scripts want it: "a/b.jpg" becomes "a__b.jpg".
        """
        self._flat = flat
        labels: dict[str, str] = {}
        for root in sorted({str(path.absolute()) for path in roots}):
            label, number = Path(root).name or "root", 1
            while label in labels.values():
                number += 1
                label = f"{Path(root).name or 'root'}-{number}"
            labels[root] = label if len(roots) > 1 else ""
        self._labels = dict(sorted(labels.items(), key=lambda item: -len(item[0])))

    def of(self, path: str) -> str:
        """The name of a picture's copy, with "/" between folders; an archive is a folder without ".tar"."""
        found = source.split(path)
        outer, inner = found if found else (path, "")
        for root, label in self._labels.items():
            if outer == root or outer.startswith(os.path.join(root, "")):  # noqa: PTH118
                relative, top = os.path.relpath(outer, root), label
                break
        else:
            relative, top = Path(outer).name, ""
        if inner:
            relative = relative[: -len(SUFFIX)] if relative != "." else ""
        parts = [part for text in (top, relative, inner) for part in text.replace(os.sep, "/").split("/") if part]
        return ("__" if self._flat else "/").join(parts)


def files_of(picture: Picture, name: str) -> list[tuple[str, bytes]]:
    """(name, content) of the caption files that go with a picture's copy: tags, then sentences."""
    stem = name[: name.rfind(".")]
    texts = ((TAGS_SUFFIX, picture.tags), (NATURAL_SUFFIX, picture.natural))
    return [(stem + suffix, f"{text}\n".encode()) for suffix, text in texts if text]
