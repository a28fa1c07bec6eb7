"""The codes of languages in translation models, which differ by layout, and in data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Layout = Literal["marian", "m2m100", "nllb"]

FLORES: Mapping[str, str] = {
    "af": "afr_Latn", "am": "amh_Ethi", "ar": "arb_Arab", "as": "asm_Beng", "ast": "ast_Latn",
    "az": "azj_Latn", "ba": "bak_Cyrl", "be": "bel_Cyrl", "bg": "bul_Cyrl", "bm": "bam_Latn",
    "bn": "ben_Beng", "bo": "bod_Tibt", "bs": "bos_Latn", "ca": "cat_Latn", "ceb": "ceb_Latn",
    "ckb": "ckb_Arab", "cs": "ces_Latn", "cy": "cym_Latn", "da": "dan_Latn", "de": "deu_Latn",
    "dz": "dzo_Tibt", "ee": "ewe_Latn", "el": "ell_Grek", "en": "eng_Latn", "eo": "epo_Latn",
    "es": "spa_Latn", "et": "est_Latn", "eu": "eus_Latn", "fa": "pes_Arab", "fi": "fin_Latn",
    "fil": "tgl_Latn", "fj": "fij_Latn", "fo": "fao_Latn", "fr": "fra_Latn", "ga": "gle_Latn",
    "gd": "gla_Latn", "gl": "glg_Latn", "gn": "grn_Latn", "gu": "guj_Gujr", "ha": "hau_Latn",
    "he": "heb_Hebr", "hi": "hin_Deva", "hr": "hrv_Latn", "ht": "hat_Latn", "hu": "hun_Latn",
    "hy": "hye_Armn", "id": "ind_Latn", "ig": "ibo_Latn", "ilo": "ilo_Latn", "is": "isl_Latn",
    "it": "ita_Latn", "ja": "jpn_Jpan", "jv": "jav_Latn", "ka": "kat_Geor", "kg": "kon_Latn",
    "ki": "kik_Latn", "kk": "kaz_Cyrl", "km": "khm_Khmr", "kn": "kan_Knda", "ko": "kor_Hang",
    "ku": "kmr_Latn", "ky": "kir_Cyrl", "lb": "ltz_Latn", "lg": "lug_Latn", "li": "lim_Latn",
    "ln": "lin_Latn", "lo": "lao_Laoo", "lt": "lit_Latn", "lv": "lvs_Latn", "mg": "plt_Latn",
    "mi": "mri_Latn", "mk": "mkd_Cyrl", "ml": "mal_Mlym", "mn": "khk_Cyrl", "mr": "mar_Deva",
    "ms": "zsm_Latn", "mt": "mlt_Latn", "my": "mya_Mymr", "nb": "nob_Latn", "ne": "npi_Deva",
    "nl": "nld_Latn", "nn": "nno_Latn", "no": "nob_Latn", "nso": "nso_Latn", "ny": "nya_Latn",
    "oc": "oci_Latn", "om": "gaz_Latn", "or": "ory_Orya", "pa": "pan_Guru", "pl": "pol_Latn",
    "ps": "pbt_Arab", "pt": "por_Latn", "qu": "quy_Latn", "quz": "quy_Latn", "rn": "run_Latn",
    "ro": "ron_Latn", "ru": "rus_Cyrl", "rw": "kin_Latn", "sa": "san_Deva", "sc": "srd_Latn",
    "sd": "snd_Arab", "sg": "sag_Latn", "si": "sin_Sinh", "sk": "slk_Latn", "sl": "slv_Latn",
    "sm": "smo_Latn", "sn": "sna_Latn", "so": "som_Latn", "sq": "als_Latn", "sr": "srp_Cyrl",
    "ss": "ssw_Latn", "st": "sot_Latn", "su": "sun_Latn", "sv": "swe_Latn", "sw": "swh_Latn",
    "ta": "tam_Taml", "te": "tel_Telu", "tg": "tgk_Cyrl", "th": "tha_Thai", "ti": "tir_Ethi",
    "tk": "tuk_Latn", "tl": "tgl_Latn", "tn": "tsn_Latn", "tr": "tur_Latn", "ts": "tso_Latn",
    "tt": "tat_Cyrl", "tw": "twi_Latn", "ug": "uig_Arab", "uk": "ukr_Cyrl", "ur": "urd_Arab",
    "uz": "uzn_Latn", "vi": "vie_Latn", "wo": "wol_Latn", "xh": "xho_Latn", "yi": "ydd_Hebr",
    "yo": "yor_Latn", "yue": "yue_Hant", "zh": "zho_Hans", "zh-Hans": "zho_Hans",
    "zh-Hant": "zho_Hant", "zh-CN": "zho_Hans", "zh-TW": "zho_Hant", "zu": "zul_Latn",
}  # fmt: skip
"""The code of FLORES-200, and of NLLB, for each of the data's own codes."""
M2M100: Mapping[str, str] = {
    "fil": "tl", "nb": "no", "nn": "no", "nso": "ns", "zh-Hans": "zh", "zh-Hant": "zh",
    "zh-CN": "zh", "zh-TW": "zh",
}  # fmt: skip
"""The codes of M2M100, where they differ from the data's own."""
MACRO: Mapping[str, tuple[str, ...]] = {
    "ar": ("ara",), "az": ("aze_Latn", "aze"), "et": ("est",), "fa": ("fas", "pes"), "ku": ("kur_Latn",),
    "lv": ("lav",), "mg": ("mlg",), "mn": ("mon",), "ms": ("msa", "zsm_Latn"), "ne": ("nep",),
    "no": ("nob", "nor"), "om": ("orm",), "or": ("ori",), "ps": ("pus",), "qu": ("que",),
    "sq": ("sqi",), "sr": ("srp_Cyrl", "srp"), "sw": ("swa",), "uz": ("uzb_Latn", "uzb"), "yi": ("yid",),
    "zh": ("cmn_Hans", "zho_Hans", "cmn", "zho"), "zh-Hans": ("cmn_Hans", "zho_Hans"),
    "zh-CN": ("cmn_Hans", "zho_Hans"), "zh-Hant": ("cmn_Hant", "zho_Hant"),
    "zh-TW": ("cmn_Hant", "zho_Hant"),
}  # fmt: skip
"""Codes of Marian's models, where they are not those of FLORES."""


def own_code(lang: str) -> str:
    """The code that word lists and rules use: ``de`` for ``deu_Latn`` and ``deu``; an unknown code stays as it is.

    >>> own_code("tur_Latn"), own_code("cmn"), own_code("hin_Latn"), own_code("de")
    ('tr', 'zh', 'hin_Latn', 'de')
    """
    return _OWN.get(lang, lang)


_OWN: Mapping[str, str] = {  # reversed: where several codes have one name, the first code wins
    name: code
    for code, flores in reversed(list(FLORES.items()))
    for name in (*MACRO.get(code, ()), flores.partition("_")[0], flores)
}


def language_tokens(layout: Layout, lang: str) -> list[str]:
    """The tokens that a model of this layout may have for one of the data's own codes, the likeliest first."""
    flores = FLORES.get(lang, lang)
    if layout == "nllb":
        return [flores, lang]
    if layout == "m2m100":
        return [f"__{code}__" for code in (lang, M2M100.get(lang, lang))]
    codes = [lang, *MACRO.get(lang, ()), flores.partition("_")[0], flores]
    return [f">>{code}<<" for code in dict.fromkeys(codes)]
