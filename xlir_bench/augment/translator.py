"""A translation model from a folder. Marian, M2M100 and NLLB are given the languages in different ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from xlir_bench.augment.languages import FLORES, Layout, language_tokens
from xlir_bench.encoders.devices import default_device
from xlir_bench.encoders.hub import locate
from xlir_bench.encoders.libraries import quiet_transformers
from xlir_bench.errors import InputError, UnknownNameError, XlirError, is_out_of_memory
from xlir_bench.options.augmenting import TranslateOptions
from xlir_bench.options.encoding import EncoderOptions

MODEL_TYPES = ("marian", "m2m_100", "nllb-moe")


class Translation(NamedTuple):
    """A text as the model translated it."""

    text: str
    shortened: bool
    """The end of the text was not read: it is longer than --max-length."""
    unfinished: bool
    """The translation was cut: it is longer than --max-length."""


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
        """Whether the model takes a target language: a Marian model of one pair does not."""
        return self.layout != "marian" or any(
            token.startswith(">>") and token.endswith("<<") for token in self.tokenizer.get_vocab()
        )

    def reads(self, lang: str) -> bool:
        """Whether it translates from a language. Marian does not say: it reads what --from names."""
        if self.layout == "marian":
            return lang in (self.options.sources or ("en",))
        return self.code(lang) is not None

    def code(self, lang: str) -> int | None:
        """The id of the token that names a language, None where there is none."""
        for token in language_tokens(self.layout, lang):
            number = self.tokenizer.convert_tokens_to_ids(token)
            if number is not None and number != self.tokenizer.unk_token_id:
                return int(number)
        return None

    def check(self) -> None:
        """Refuse languages that the model does not have."""
        targets, sources = self.options.to, self.options.sources
        if self.says_target:
            wanted = targets if self.layout == "marian" else (*targets, *(sources or ()))
            if unknown := [lang for lang in wanted if self.code(lang) is None]:
                known = [lang for lang in FLORES if self.code(lang) is not None]
                raise UnknownNameError(f"language of {self.name}", unknown, known)
            return
        if len(targets) > 1:
            raise InputError(
                f"{self.name} translates into one language and is not told which; --to names {', '.join(targets)}"
            )
        stated = self.tokenizer.init_kwargs
        for option, word, lang, wanted in (
            ("--from", "from", stated.get("source_lang"), sources or ("en",)),
            ("--to", "into", stated.get("target_lang"), targets),
        ):
            if lang in FLORES and lang not in wanted:
                raise InputError(
                    f"{option}: {self.name} translates {word} {lang}, not {', '.join(wanted)}"
                )

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Texts as token ids, without those that name languages."""
        if not texts:
            return []
        with quiet_transformers():
            return list(self.tokenizer(list(texts), add_special_tokens=False)["input_ids"])

    def translate(
        self, texts: Sequence[Sequence[int]], source: str, target: str
    ) -> list[Translation]:
        """Translations of texts, given as token ids (`tokens`), in one batch."""
        import torch

        marian, eos = self.layout == "marian", self.tokenizer.eos_token_id
        named = self.code(target if marian else source) if self.says_target else None
        longest_read, longest_written = self.options.max_length - 2, self.options.max_length
        first = [] if named is None else [named]
        rows = [[*first, *tokens[:longest_read], eos] for tokens in texts]
        try:
            with torch.inference_mode(), quiet_transformers():
                batch = self.tokenizer.pad(
                    {"input_ids": rows}, padding_side="right", return_tensors="pt"
                )
                written = self.model.generate(
                    **batch.to(self.device),
                    num_beams=self.options.num_beams,
                    do_sample=False,
                    max_new_tokens=longest_written,
                    **({} if marian else {"forced_bos_token_id": self.code(target)}),
                )
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise XlirError(
                f"out of memory at {len(rows)} texts of up to {max(map(len, rows))} tokens; try a smaller --batch-tokens"
                f" (such as {self.options.batch_tokens // 2}) or --num-beams: finished batches are kept"
            ) from error
        return [
            Translation(
                self.tokenizer.decode(row, skip_special_tokens=True).strip(),
                shortened=len(tokens) > longest_read,
                # Some models add an end token after the last token that they may write.
                unfinished=len(row) > longest_written and eos not in row[1:longest_written],
            )
            for row, tokens in zip(written.tolist(), texts, strict=True)
        ]


def load_translator(options: TranslateOptions) -> Translator:
    """The model in a folder, from safetensors alone; no code of the folder is run."""
    import torch
    from transformers import AutoConfig, AutoModelForSeq2SeqLM, AutoTokenizer

    options.check()
    folder = str(options.model)
    name = locate(folder, EncoderOptions()).name
    if not any(options.model.glob("*.safetensors")):
        raise InputError(f"{name} has no weights in safetensors; convert pickles that you trust")
    safely: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        with quiet_transformers():
            config = AutoConfig.from_pretrained(folder, **safely)
            if config.model_type not in MODEL_TYPES:
                raise InputError(
                    f"{name} is of the kind {config.model_type}, not Marian, M2M100 or NLLB"
                )
            tokenizer = AutoTokenizer.from_pretrained(folder, **safely)
            if options.max_length > config.max_position_embeddings:
                raise InputError(
                    f"--max-length {options.max_length}: {name} takes {config.max_position_embeddings} tokens"
                )
            model = AutoModelForSeq2SeqLM.from_pretrained(
                folder, use_safetensors=True, dtype=getattr(torch, options.dtype), **safely
            )
    except ImportError as error:
        raise InputError(
            f"{name} wants sentencepiece: pip install 'xlir-bench[translate]'"
        ) from error
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{name} cannot be loaded: {reason}") from error
    device = options.device or default_device()
    try:
        model = model.to(device).eval()
    except RuntimeError as error:
        raise InputError(f"--device {device}: {' '.join(str(error).split())[:150]}") from error
    layout: Layout = "marian" if config.model_type == "marian" else "m2m100"
    english = tokenizer.convert_tokens_to_ids("eng_Latn")
    if layout == "m2m100" and english not in (None, tokenizer.unk_token_id):
        layout = "nllb"  # NLLB is M2M100 with other names of languages
    translator = Translator(name, layout, model, tokenizer, options, device)
    translator.check()
    return translator
