from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from evaluation.plain import Signs, settings_of
from sources.serving import serving

from xlir_bench import RunOptions, evaluate
from xlir_bench.errors import InputError, OutOfReachError
from xlir_bench.records import Collection, Kind, Silent
from xlir_bench.sources import load_collection
from xlir_bench.sources.download import Download, download
from xlir_bench.tasks import catalogue

TEXTS = {
    "deu_Latn": ["Bienen tanzen.", "", "Salz ist weiß."],
    "eng_Latn": ["Bees dance.\r", " They sing. ", "Salt is white.\u2028It is."],
    "zho_Hans": ["蜜蜂跳舞。", "它们唱歌。", "盐是白色的。"],
}
METADATA = ["URL\tdomain", "bees\twikinews", "bees\twikinews", "salt\twikivoyage"]


def write(root: Path, texts: Mapping[str, Any] = TEXTS, metadata: Any = METADATA) -> Path:
    """Files as the archive of FLORES-200 unpacks."""
    folder = root / "flores200_dataset"
    (folder / "devtest").mkdir(parents=True)
    for lang, lines in texts.items():
        body = lines if isinstance(lines, bytes) else "".join(f"{x}\n" for x in lines).encode()
        (folder / "devtest" / f"{lang}.devtest").write_bytes(body)
    (folder / "metadata_devtest.tsv").write_text("".join(f"{x}\n" for x in metadata), "utf-8")
    return root


def read(root: Path, *langs: str) -> Collection:
    (task,) = catalogue().get(["flores-200"])
    options = RunOptions(data=root, cache=None, langs=langs or tuple(TEXTS))
    return load_collection(task, options, Silent())


def test_the_tasks_have_all_directions_of_their_languages() -> None:
    flores, ntrex = catalogue().get(["flores-200", "ntrex-128"])
    assert (len(flores.languages), len(ntrex.languages)) == (204, 128)
    assert [flores.setting_counts()[kind] for kind in Kind] == [0, 41_412, 0]
    assert [ntrex.setting_counts()[kind] for kind in Kind] == [0, 16_256, 0]
    assert set(flores.counts("queries").values()) == {1012}
    assert set(ntrex.counts("candidates").values()) == {1997}
    assert flores.files["zul_Latn.text"].member == "flores200_dataset/devtest/zul_Latn.devtest"
    urls = {name: str(file.url) for name, file in ntrex.files.items()}
    assert urls["zho-CN.text"].endswith("NTREX-128/newstest2019-ref.zho-CN.txt")
    assert urls["eng.text"].endswith("NTREX-128/newstest2019-src.eng.txt")


def test_line_n_is_the_translation_of_line_n(tmp_path: Path) -> None:
    found = read(write(tmp_path))
    assert found.queries["eng_Latn"].texts == (
        "Bees dance.",
        "They sing.",
        "Salt is white.\u2028It is.",
    )
    assert found.queries["deu_Latn"].ids == ("1", "3")  # one line was not translated
    assert found.queries["deu_Latn"].clusters == ("bees", "salt")
    rows = found.relevance["zho_Hans", "deu_Latn"]
    assert (rows.query.tolist(), rows.passage.tolist()) == ([0, 2], [0, 1])
    assert ("deu_Latn", "deu_Latn") not in found.relevance
    assert (found.parallel, found.cluster) == (True, "document")


def test_documents_need_no_header(tmp_path: Path) -> None:
    found = read(write(tmp_path, metadata=METADATA[1:]))
    assert found.queries["zho_Hans"].clusters == ("bees", "bees", "salt")


@pytest.mark.parametrize(
    ("changed", "metadata", "message"),
    [
        (
            {"zho_Hans": TEXTS["zho_Hans"][:2]},
            METADATA,
            "zho_Hans.devtest: $: has 2 lines, and deu",
        ),
        ({}, METADATA[:2], "metadata_devtest.tsv: $: has 2 lines, and deu_Latn.devtest has 3"),
        ({"eng_Latn": b"Bees\n\xff\nSalt\n"}, METADATA, "eng_Latn.devtest: line 2: is not UTF-8"),
        ({"eng_Latn": b""}, METADATA, "eng_Latn.devtest: $: there is no line in it"),
    ],
)
def test_files_that_do_not_belong_together_are_told(
    tmp_path: Path, changed: dict[str, Any], metadata: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=r"^1 fault\b.*'flores-200'") as caught:
        read(write(tmp_path, TEXTS | changed, metadata))
    assert message in str(caught.value)


def test_a_language_that_is_not_there_can_be_left_out(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(InputError, match=r"zul_Latn\.devtest.*\bzul_Latn\b.*--langs"):
        read(tmp_path, "eng_Latn", "zul_Latn")


def packed(root: Path, **more: bytes) -> bytes:
    """The archive as it is published: names begin with a dot."""
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w:gz") as archive:
        for path in sorted(root.rglob("*")):
            archive.add(path, f"./{path.relative_to(root).as_posix()}", recursive=False)
        for name, content in more.items():
            stated = tarfile.TarInfo(name)
            stated.size = len(content)
            archive.addfile(stated, io.BytesIO(content))
    return body.getvalue()


def bring(body: bytes, folder: Path, names: list[str], **more: Any) -> list[str]:
    """Fetch members of an archive from a server; what it was asked."""
    with serving({"/a.tar.gz": body}) as server:
        files = [
            Download(f"{server.url}/a.tar.gz", folder / name, None, None, member=name, **more)
            for name in names
        ]
        download(files, "fetch", Silent())
        return [path for path, _ in server.asked]


def test_an_archive_comes_once_for_all_that_is_in_it(tmp_path: Path) -> None:
    body = packed(write(tmp_path / "made"))
    names = ["flores200_dataset/metadata_devtest.tsv"]
    names += [f"flores200_dataset/devtest/{lang}.devtest" for lang in TEXTS]
    digest = hashlib.sha256(body).hexdigest()
    assert bring(body, tmp_path / "data", names, archive_sha256=digest) == ["/a.tar.gz"]
    there = [path for path in sorted((tmp_path / "data").rglob("*")) if path.is_file()]
    assert [path.relative_to(tmp_path / "data").as_posix() for path in there] == sorted(names)
    assert read(tmp_path / "data").digests == read(tmp_path / "made").digests


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda body: body[:-40], "has no whole"),
        (lambda body: b"no archive", "has no whole"),
        (lambda body: gzip.compress(gzip.decompress(body)[:700]), "has no whole"),
    ],
)
def test_a_damaged_archive_is_one_message_and_leaves_nothing_half(
    tmp_path: Path, spoil: Any, message: str
) -> None:
    body = spoil(packed(write(tmp_path / "made")))
    name = "flores200_dataset/metadata_devtest.tsv"
    with pytest.raises(OutOfReachError, match=message):
        bring(body, tmp_path / "data", [name])
    assert [path for path in (tmp_path / "data").rglob("*") if path.is_file()] == []


def test_another_archive_than_the_pinned_one_is_refused(tmp_path: Path) -> None:
    body = packed(write(tmp_path / "made"))
    with pytest.raises(OutOfReachError, match=rf"\bpinned\b.*{'0' * 64}"):
        bring(body, tmp_path / "data", ["x"], archive_sha256="0" * 64)


def test_a_member_that_is_not_there_or_would_fill_the_disk_is_refused(tmp_path: Path) -> None:
    body = packed(write(tmp_path / "made"), bomb=bytes(40_000_000))
    with pytest.raises(OutOfReachError, match=r"whole bomb\b.*\d bytes"):
        bring(body, tmp_path / "data", ["bomb"])
    with pytest.raises(OutOfReachError, match=r"whole other\b.*not there"):
        bring(packed(tmp_path / "made"), tmp_path / "data", ["other"])


def test_an_endless_name_in_an_archive_is_refused_unread(tmp_path: Path) -> None:
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 1 << 24
    body = gzip.compress(header.tobuf(tarfile.USTAR_FORMAT) + b"0" * header.size + bytes(1024))
    with pytest.raises(OutOfReachError, match=r"\bname\b.*too long"):
        bring(body, tmp_path, ["x"])


CODES = {"ar": "arb", "de": "deu", "el": "ell", "en": "eng", "th": "tha", "zh": "zho-CN"}


def test_ntrex_as_it_is_published_equals_its_json_lines(xlir_data: Path, tmp_path: Path) -> None:
    """What `parallel:` gives was checked against a plain computation."""
    path = xlir_data / "parallel" / "ntrex.jsonl"
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    folder = tmp_path / "NTREX" / "NTREX-128"
    folder.mkdir(parents=True)
    for lang, code in CODES.items():
        name = "src" if code == "eng" else "ref"
        lines = "".join(f"{row['text'][lang]}\n" for row in rows)
        (folder / f"newstest2019-{name}.{code}.txt").write_bytes(lines.encode())
    documents = "".join(f"{row['doc']}\n" for row in rows)
    (folder.parent / "DOCUMENT_IDS.tsv").write_text(documents, "utf-8")
    common: dict[str, Any] = {"cache": None, "limit": 150, "measures": ("recall@1", "map")}
    options = RunOptions(data=tmp_path, langs=tuple(CODES.values()), **common)
    published = evaluate("ntrex-128", Signs(), options)
    (task,) = catalogue().get([f"parallel:{path}"])
    other = evaluate(task, Signs(), RunOptions(langs=tuple(CODES), data=None, **common))
    found, wanted = settings_of(published), settings_of(other)
    assert len(found) == 30
    for (asked, sought), setting in wanted.items():
        same = found[CODES[asked], CODES[sought]]
        for measure in ("recall@1", "map"):
            assert same.measures[measure] == setting.measures[measure]
    assert published.record.task.clusters == other.record.task.clusters
