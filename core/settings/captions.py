"""The captions of settings page "Data": what the model reads of the texts beside a picture."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator

from core.schema import Section, opt

_GROUP = "Captions"


class CaptionSettings(Section):
    """How the text of one use of a picture is put together from its caption files."""

    title: ClassVar[str] = "Captions"

    captions: Literal["tags", "natural", "either", "tags then natural", "natural then tags"] = opt(
        "either",
        label="Captions",
        help="Which caption the model reads: the tags (.txt), the sentence (.caption), one of both drawn by chance at "
        "each use, or both, one after the other. Mixing both keeps more of what the model already knew. "
        "When a picture lacks the wanted kind, the other one is used.",
        group=_GROUP,
    )
    txt_holds: Literal["tags", "sentences", "auto"] = opt(
        "tags",
        label="What .txt files hold",
        help="Tags, or sentences where a captioner wrote those into .txt files; auto decides for each line by its "
        "looks. Sentences are never shuffled, nor do rules for tags touch them. A .caption file always holds "
        "sentences.",
        group=_GROUP,
    )
    tags_share: float = opt(
        0.5,
        label="Share of tags",
        help="How often the tags are drawn where a picture has both kinds, against the sentence: 0.7 reads the tags in "
        "70 % of the uses. Raise it when you will prompt with tags.",
        ge=0,
        le=1,
        group=_GROUP,
        level="advanced",
        when=("data.captions", "either"),
    )
    both_share: float = opt(
        0.0,
        label="Share of both together",
        help="In this share of the uses the tags and the sentence are both read, in an order drawn by chance; the rest "
        "is drawn as above. Two captions together often need more than 75 tokens.",
        ge=0,
        le=1,
        group=_GROUP,
        level="advanced",
        when=("data.captions", "either"),
    )
    max_tokens: Annotated[Literal["75", "150", "225"], BeforeValidator(str)] = opt(
        "75",
        label="Longest caption",
        help="So many tokens of a caption are read, and what is longer is cut. 150 and 225 read the caption in pieces "
        "of 75 and cost a little memory and time; choose them when the preview shows that your captions are cut. "
        "Samples are drawn with the same length.",
        unit="tokens",
        group=_GROUP,
        aliases=("max_token_length",),
    )
    trigger: str = opt(
        "",
        label="Trigger words",
        help="Put in front of every caption. A rare word here gives you one word to call the new style or subject by.",
        group=_GROUP,
        aliases=("instance_prompt",),
    )
    prefix: str = opt(
        "",
        label="Text before",
        help='Put before the caption and behind the trigger words with a blank between, as "a photo of". It is never '
        "shuffled.",
        group=_GROUP,
        level="advanced",
        aliases=("caption_prefix",),
    )
    suffix: str = opt(
        "",
        label="Text behind",
        help='Put behind the caption with a blank between, as ", by night". It is never shuffled.',
        group=_GROUP,
        level="advanced",
        aliases=("caption_suffix",),
    )
    tag_rules: list[str] = opt(
        [],
        label="Rules for tags",
        help='One rule a line: "old -> new" replaces a tag, "old" alone removes it, "one, two -> new" makes one of '
        'several spellings. * stands for any letters, also on the right: "*_hair -> * locks", "rating:*". Capitals '
        "do not matter, and _ is a blank. The files stay as they are.",
        group=_GROUP,
        level="advanced",
        editor="lines",
    )
    underscores_to_spaces: bool = opt(
        False,
        label="Underscores to blanks",
        help='Reads "long_hair" as "long hair", which most models know better. Faces such as ^_^ stay.',
        group=_GROUP,
        level="advanced",
        aliases=("remove_underscore", "replace_underscores"),
    )
    shuffle_tags: bool = opt(
        False,
        label="Shuffle tags",
        help="Draws a new order of the tags at each use, so that the model does not learn their order by heart. "
        "Text states can then be kept only for orders that come again.",
        group=_GROUP,
        level="advanced",
        aliases=("shuffle_caption",),
    )
    tag_dropout: float = opt(
        0.0,
        label="Tag dropout",
        help="Each tag is left out in this share of the uses, but not those kept in front. The model then relies less "
        "on any one tag. Try 0.05 to 0.2 with long lists of tags.",
        ge=0,
        le=1,
        usual=(0, 0.3),
        group=_GROUP,
        level="advanced",
        aliases=("caption_tag_dropout_rate",),
    )
    keep_tags: int = opt(
        1,
        label="Tags kept in front",
        help="So many tags at the start stay where they are while the others are shuffled or dropped.",
        ge=0,
        group=_GROUP,
        level="advanced",
        aliases=("keep_tokens",),
    )
    keep_separator: str = opt(
        "",
        label="Mark behind kept tags",
        help="A mark in the caption, as |||: the tags before it are kept instead of a fixed number, and those behind a "
        "second mark stay at the end. The marks themselves are not read.",
        group=_GROUP,
        level="advanced",
        aliases=("keep_tokens_separator",),
    )
    group_separator: str = opt(
        "",
        label="Mark within a group",
        help="A mark between tags that belong together, as ;;: they are shuffled and dropped as one, and read with "
        "commas between.",
        group=_GROUP,
        level="advanced",
        aliases=("secondary_separator",),
    )
    separator: str = opt(
        ",",
        label="Between tags",
        help="What stands between the tags in your files: a comma, or a blank for lists copied from a booru. The model "
        "reads a comma and a blank.",
        group=_GROUP,
        level="advanced",
        aliases=("caption_separator",),
    )
    caption_dropout: float = opt(
        0.0,
        label="Caption dropout",
        help="Share of the uses in which the caption is left empty. The model then keeps its unconditional half, which "
        "the CFG scale needs. 0.05 to 0.1 helps in long runs.",
        ge=0,
        le=1,
        usual=(0, 0.2),
        group=_GROUP,
        level="advanced",
        aliases=("caption_dropout_rate",),
    )
    dropout_every_epochs: int = opt(
        0,
        label="Epochs without captions",
        help="Every so many epochs one is trained without any caption; 0 for none. Caption dropout, which spreads the "
        "empty captions evenly, is the better way; this one repeats settings of sd-scripts.",
        unit="epochs",
        ge=0,
        group=_GROUP,
        level="advanced",
        aliases=("caption_dropout_every_n_epochs",),
    )
