"""A translation model from a folder: Marian, M2M100 and NLLB differ in how they are told the languages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from xlir_bench.augment.languages import FLORES, TOKENS, Layout
from xlir_bench.encoders.devices import default_device
from xlir_bench.encoders.hub import locate
from xlir_bench.encoders.quiet import quiet_transformers
from xlir_bench.errors import InputError, UnknownNameError, XlirError
from xlir_bench.options.augmenting import TranslateOptions
from xlir_bench.options.encoding import EncoderOptions
from xlir_bench.train.faults import is_full

MODEL_TYPES = ("marian", "m2m_100", "nllb-moe")


@dataclass(frozen=True, slots=True)
class Translation:
    """What became of a text."""

    text: str
    shortened: bool
    """The text was longer than the model was to read."""
    unfinished: bool
    """The translation was longer than it was to be."""


@dataclass(frozen=True)
class Translator:
    """A model that translates batches."""

    name: str
    layout: Layout
    model: Any
    tokenizer: Any
    options: TranslateOptions
    device: str

    @cached_property
    def says_target(self) -> bool:
        """Whether the model is told what to translate to: a Marian model of one pair is not."""
        return self.layout != "marian" or any(
            token.startswith(">>") and token.endswith("<<") for token in self.tokenizer.get_vocab()
        )

    def reads(self, lang: str) -> bool:
        """Whether it translates from a language; Marian does not say, so it is what is asked for."""
        if self.layout == "marian":
            return lang in (self.options.sources or ("en",))
        return self.code(lang) is not None

    def code(self, lang: str) -> int | None:
        """The number of the token that names a language, None where there is none."""
        unknown = self.tokenizer.unk_token_id
        for token in TOKENS[self.layout](lang):
            number = self.tokenizer.convert_tokens_to_ids(token)
            if number is not None and number != unknown:
                return int(number)
        return None

    def check(self) -> None:
        """Refuse languages that the model does not have."""
        if not self.says_target:
            self._check_pair()
            return
        asked = [
            *self.options.to,
            *((self.options.sources or ()) if self.layout != "marian" else ()),
        ]
        unknown = [lang for lang in asked if self.code(lang) is None]
        if unknown:
            known = [lang for lang in FLORES if self.code(lang) is not None]
            raise UnknownNameError(f"language of {self.name}", unknown, known)

    def _check_pair(self) -> None:
        if len(self.options.to) > 1:
            raise InputError(
                f"{self.name} translates into one language and is not told which; --to names"
                f" {len(self.options.to)}: {', '.join(self.options.to)}"
            )
        stated = self.tokenizer.init_kwargs
        source, target = stated.get("source_lang"), stated.get("target_lang")
        asked = self.options.sources or ("en",)
        if source in FLORES and source not in asked:
            raise InputError(
                f"{self.name} translates from {source}, not {', '.join(asked)}: --from"
            )
        if target in FLORES and target not in self.options.to:
            raise InputError(
                f"{self.name} translates into {target}, not {self.options.to[0]}: --to"
            )

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Texts as the model reads them, without what says the languages."""
        if not texts:
            return []
        with quiet_transformers():
            read = self.tokenizer(list(texts), add_special_tokens=False)
        found: list[list[int]] = read["input_ids"]
        return found

    def translate(
        self, texts: Sequence[Sequence[int]], source: str, target: str
    ) -> list[Translation]:
        """Translations of texts that are tokens already, in one batch."""
        import torch

        room = self.options.max_length - 2
        rows = [self._framed(tokens[:room], source, target) for tokens in texts]
        longest = max(map(len, rows))
        pad = self.tokenizer.pad_token_id
        ids = torch.tensor([row + [pad] * (longest - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        with (
            torch.inference_mode(),
            quiet_transformers(),
            _explained(self.options.batch_tokens, len(rows), longest),
        ):
            found = self.model.generate(
                input_ids=ids.to(self.device),
                attention_mask=mask.to(self.device),
                num_beams=self.options.num_beams,
                do_sample=False,
                max_new_tokens=self.options.max_length,
                **self._forced(target),
            )
        return [
            Translation(
                self.tokenizer.decode(row, skip_special_tokens=True).strip(),
                len(tokens) > room,
                self._is_unfinished(row),
            )
            for row, tokens in zip(found.tolist(), texts, strict=True)
        ]

    def _is_unfinished(self, row: Sequence[int]) -> bool:
        """Whether it came to no end, or only because some models are made to end at the last token."""
        said = row[1 : self.options.max_length]
        return self.tokenizer.eos_token_id not in said and len(row) > self.options.max_length

    def _framed(self, tokens: Sequence[int], source: str, target: str) -> list[int]:
        """A text between what each layout puts before and behind it."""
        says = self.code(target) if self.layout == "marian" else self.code(source)
        first = [says] if says is not None and self.says_target else []
        return [*first, *tokens, self.tokenizer.eos_token_id]

    def _forced(self, target: str) -> dict[str, Any]:
        return {} if self.layout == "marian" else {"forced_bos_token_id": self.code(target)}


def load_translator(options: TranslateOptions) -> Translator:
    """The model of a folder: safetensors alone, and no code but the library's."""
    import torch
    from transformers import AutoConfig, AutoModelForSeq2SeqLM, AutoTokenizer

    options.check()
    folder = str(options.model)
    name = locate(folder, EncoderOptions()).name
    if not any(options.model.glob("*.safetensors")):
        raise InputError(
            f"{name} has no weights in safetensors; if there are only pickles (pytorch_model.bin), convert"
            " them where you trust them"
        )
    stated: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    with quiet_transformers():
        try:
            config = AutoConfig.from_pretrained(folder, **stated)
            if config.model_type not in MODEL_TYPES:
                raise InputError(
                    f"{name} is a {config.model_type} model; Marian, M2M100 and NLLB can be used"
                )
            tokenizer = AutoTokenizer.from_pretrained(folder, **stated)
            options.check_room(name, config.max_position_embeddings)
            model = AutoModelForSeq2SeqLM.from_pretrained(
                folder, use_safetensors=True, dtype=getattr(torch, options.dtype), **stated
            )
        except ImportError as error:
            raise InputError(
                f"the tokenizer of {name} wants sentencepiece: pip install 'xlir-bench[translate]'"
            ) from error
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"{name} cannot be loaded: {reason}") from error
    device = options.device or default_device()
    try:
        model = model.to(device).eval()
    except RuntimeError as error:
        raise InputError(f"--device {device}: {' '.join(str(error).split())[:150]}") from error
    found = Translator(name, _layout(config, tokenizer), model, tokenizer, options, device)
    found.check()
    return found


def _layout(config: Any, tokenizer: Any) -> Layout:
    """NLLB is M2M100 with other names of languages."""
    if config.model_type == "marian":
        return "marian"
    english = tokenizer.convert_tokens_to_ids("eng_Latn")
    nllb = english is not None and english != tokenizer.unk_token_id
    return "nllb" if nllb else "m2m100"


@contextmanager
def _explained(batch_tokens: int, texts: int, longest: int) -> Iterator[None]:
    """Turn a full memory into what to do about it."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_full(error):
            raise
        raise XlirError(
            f"out of memory at {texts} texts of up to {longest} tokens; try a smaller --batch-tokens"
            f" (such as {batch_tokens // 2}) or --num-beams: what was translated is kept"
        ) from error
