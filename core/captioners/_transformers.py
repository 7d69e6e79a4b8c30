"""Captioning models of transformers in a folder on the disk: opened without a network, asked in batches."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from core.captioners._words import whole_sentences
from core.errors import UserError
from core.quantities import show_share
from core.schema import Section, opt

#: No captioner looks at more than this; larger pictures would only fill the memory while they wait.
_LONGEST = 2048
#: Share of a model's weights that may be missing from its files before it counts as another model.
_MISSING = 0.02


class GenerationOptions(Section):
    """Options of every captioner that writes text; each has a table of its own."""

    max_tokens: int = opt(
        128,
        label="Longest text",
        help="A text ends here at the latest. SD 1.5 and SDXL read 75 tokens at a time; what is much longer is cut "
        "or needs longer prompts switched on.",
        unit="tokens",
        ge=1,
        le=4096,
        usual=(16, 512),
        aliases=("max_new_tokens", "max_length"),
    )
    beams: int = opt(
        1,
        label="Beams",
        help="So many texts are followed at once and the likeliest one wins. 3 is a little better than 1, and about "
        "three times slower.",
        ge=1,
        le=16,
        usual=(1, 5),
        level="advanced",
        aliases=("num_beams",),
    )
    repetition_penalty: float = opt(
        1.0,
        label="Against repetition",
        help="Above 1 makes a word less likely each time that it has come. Raise it when texts go round in circles.",
        ge=1,
        le=3,
        usual=(1, 1.3),
        level="advanced",
        aliases=("repetition_penalty",),
    )
    whole_sentences: bool = opt(
        True,
        label="Whole sentences only",
        help="Drops the end of a text that reached the longest length in the middle of a sentence.",
        level="advanced",
    )
    precision: Literal["auto", "fp32", "fp16", "bf16"] = opt(
        "auto",
        label="Precision",
        help="auto takes bf16 or fp16 on a GPU and fp32 on a processor.",
        level="advanced",
        aliases=("dtype", "torch_dtype"),
    )
    trust_code: bool = opt(
        False,
        label="Run code from the folder",
        help="Some models bring Python files of their own. They can do anything that you can do on this machine: "
        "switch this on only for a folder whose author you trust and whose code you have read.",
        level="advanced",
        aliases=("trust_remote_code",),
    )


def read_config(folder: Path) -> dict[str, Any]:
    """A model folder's config.json; {} where there is none that can be read."""
    try:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def has_chat_template(folder: Path) -> bool:
    """Whether a folder says how a conversation is written for its model."""
    if any((folder / name).is_file() for name in ("chat_template.json", "chat_template.jinja")):
        return True
    for name in ("tokenizer_config.json", "processor_config.json"):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            if json.loads((folder / name).read_text(encoding="utf-8")).get("chat_template"):
                return True
    return False


def shrunk(image: Image.Image) -> Image.Image:
    """A picture no larger than any of these models can use."""
    if max(image.size) <= _LONGEST:
        return image
    image = image.copy()
    image.thumbnail((_LONGEST, _LONGEST), Image.Resampling.BICUBIC)
    return image


@dataclass
class Writer:
    """A model with its processor.

    Attributes:
        processor: transformers' processor, or a picture processor where the model has none that takes both.
        tokenizer: Turns tokens into text.
    """

    model: Any
    processor: Any
    tokenizer: Any
    options: GenerationOptions
    notes: list[str] = field(default_factory=list)

    def write(self, images: Sequence[Image.Image], texts: Sequence[str] | None) -> list[str]:
        """One text for each picture; `texts` are what the model is asked, None asks nothing.

        What models for continuing texts repeat of the question is left out.
        """
        import torch

        options = self.options
        asked = {} if texts is None else {"text": list(texts), "padding": True}
        inputs = self.processor(images=list(images), return_tensors="pt", **asked)
        inputs = inputs.to(self.model.device, self.model.dtype)
        with torch.inference_mode():
            made = self.model.generate(
                **inputs,
                max_new_tokens=options.max_tokens,
                num_beams=options.beams,
                repetition_penalty=options.repetition_penalty,
                do_sample=False,
            )
        given = inputs.get("input_ids")
        length = 0 if given is None else given.shape[1]
        if length and made.shape[1] >= length and bool((made[:, :length] == given).all()):
            made = made[:, length:]
        spoken = self.tokenizer.batch_decode(made, skip_special_tokens=True)
        return [self._finished(text.strip(), row) for text, row in zip(spoken, made.tolist(), strict=True)]

    def _finished(self, text: str, tokens: list[int]) -> str:
        """A text without the half sentence at its end, where the length has cut it."""
        silent = set(self.tokenizer.all_special_ids)
        cut = len(tokens) >= self.options.max_tokens and tokens[-1] not in silent
        return whole_sentences(text) if cut and self.options.whole_sentences else text


def open_writer(folder: Path, options: GenerationOptions, device: str) -> Writer:
    """Load a captioning model from its folder; UserError says what is missing or does not fit.

    Its own code is run only where options.trust_code says so.
    """
    config = read_config(folder)
    if not config:
        raise UserError(f"{folder} holds no config.json, so it is no model of transformers. Choose its whole folder.")
    with _told(folder, config, options.trust_code):
        model, notes = _load_model(folder, options, device)
        processor, tokenizer = _load_processor(folder, options.trust_code)
    if not getattr(model.config, "is_encoder_decoder", False):
        tokenizer.padding_side = "left"  # texts are continued at their right end
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if options.trust_code and config.get("auto_map"):
        notes.append(f"Code from {folder} is being run, as caption settings allow it.")
    return Writer(model, processor, tokenizer, options, notes)


@contextlib.contextmanager
def _told(folder: Path, config: dict[str, Any], trusted: bool) -> Iterator[None]:
    """Turn what transformers raises over a folder into a sentence for the user."""
    try:
        yield
    except ImportError as error:
        text = " ".join(str(error).split())
        if "torchvision" in text.lower():
            raise UserError(
                f"{folder}: the pictures of this model are prepared by torchvision, which is not installed. Install "
                "the torchvision that belongs to your torch into Burnish's .venv, or choose another model."
            ) from None
        raise UserError(f"{folder} needs a library that is not installed ({text[:200]}).") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        if config.get("auto_map") and not trusted:
            raise UserError(
                f"{folder}: this model brings Python code of its own, and this transformers does not know it without. "
                "Choose a folder converted for transformers; or, if you trust its author and have read the code, "
                "switch on 'Run code from the folder'."
            ) from None
        text = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{folder} cannot be opened as a captioning model ({text[:300]}).") from error


def _load_model(folder: Path, options: GenerationOptions, device: str) -> tuple[Any, list[str]]:
    import torch
    from transformers import AutoModelForImageTextToText

    place = torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
    if device == "cuda" and place.type == "cpu":
        raise UserError("caption.device is cuda, but torch finds no NVIDIA GPU. Choose auto or cpu.")
    names = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
    half = torch.bfloat16 if place.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float16
    dtype = names.get(options.precision, torch.float32 if place.type == "cpu" else half)
    loaded: Any = AutoModelForImageTextToText.from_pretrained(
        folder,
        dtype=dtype,
        local_files_only=True,
        trust_remote_code=options.trust_code,
        output_loading_info=True,
    )
    model, found = loaded
    missing = set(found["missing_keys"])
    whole = sum(weight.numel() for weight in model.parameters())
    absent = sum(weight.numel() for name, weight in model.named_parameters() if name in missing)
    if absent > _MISSING * whole:
        raise UserError(
            f"{folder}: {show_share(absent / whole)} of the model's weights are not in its files under the names that "
            "this transformers expects, so it would say nonsense. Choose a folder that was converted for transformers."
        )
    notes = [f"The captioner runs on {'the processor' if place.type == 'cpu' else torch.cuda.get_device_name(place)}."]
    return model.to(place).eval(), notes


def _load_processor(folder: Path, trusted: bool) -> tuple[Any, Any]:
    """(processor, tokenizer) of a folder."""
    from transformers import AutoImageProcessor, AutoProcessor, AutoTokenizer

    arguments = {"local_files_only": True, "trust_remote_code": trusted}
    with _without_videos():
        try:
            found = AutoProcessor.from_pretrained(folder, **arguments)
        except ValueError:  # a folder with a picture processor and a tokenizer, and nothing that joins them
            found = None
        if hasattr(found, "image_processor") and hasattr(found, "tokenizer"):
            return found, found.tokenizer
        pictures = AutoImageProcessor.from_pretrained(folder, **arguments)
    return pictures, AutoTokenizer.from_pretrained(folder, **arguments)


class _NoVideos(dict[str, Any]):
    """Stands where a processor wants one for videos; a dictionary, since processors are written out as JSON."""

    @classmethod
    def from_pretrained(cls, *_: Any, **__: Any) -> _NoVideos:
        """Nothing is read."""
        return cls()


@contextlib.contextmanager
def _without_videos() -> Iterator[None]:
    """Let models for pictures and videos be opened without torchvision, which only their videos need."""
    from transformers import processing_utils
    from transformers.models.auto import video_processing_auto
    from transformers.utils.import_utils import is_torchvision_available

    if is_torchvision_available():
        yield
        return
    module: Any = video_processing_auto
    base: Any = processing_utils.ProcessorMixin
    videos, check = module.AutoVideoProcessor, base.check_argument_for_proper_class

    def lenient(self: Any, name: str, argument: Any) -> Any:
        return _NoVideos if isinstance(argument, _NoVideos) else check(self, name, argument)

    module.AutoVideoProcessor = _NoVideos
    base.check_argument_for_proper_class = lenient
    try:
        yield
    finally:
        module.AutoVideoProcessor = videos
        base.check_argument_for_proper_class = check
