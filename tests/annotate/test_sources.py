"""SOURCE is whatever a person would type."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import fsspec
import pytest

from maskloop.annotate.output import open_output
from maskloop.annotate.sources import distinct, find, of_references, read
from maskloop.annotate.values import AnnotateError, Skipped, Source
from maskloop.errors import ImageUnavailable, ImageUnreadable


def sources(source: str | Path, without: Sequence[str] = ()) -> list[Source]:
    return [each for each in find(str(source), without) if isinstance(each, Source)]


def names(source: str | Path) -> list[str]:
    return [each.name for each in sources(source)]


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_a_folder_is_searched_to_the_bottom_and_only_photos_are_taken(tmp_path: Path) -> None:
    touch(tmp_path / "b.jpg", tmp_path / "a" / "deep" / "c.PNG", tmp_path / "notes.md", tmp_path / "jpg")
    assert names(tmp_path) == ["b.jpg", "a/deep/c.PNG"]


def test_every_format_that_is_decoded_is_found_by_its_suffixes(tmp_path: Path) -> None:
    found = [f"a.{suffix}" for suffix in ["avif", "bmp", "gif", "jfif", "jp2", "jpe", "jpeg", "png", "ppm", "webp"]]
    touch(*(tmp_path / name for name in (*found, "a.eps", "a.ico", "a.pdf", "a.txt")))
    assert names(tmp_path) == found


@pytest.mark.parametrize("pattern", ["", "*"])
def test_a_photo_that_cannot_be_decoded_is_told_unless_it_is_there_as_another(tmp_path: Path, pattern: str) -> None:
    touch(tmp_path / "a.HEIC", tmp_path / "b.cr2", tmp_path / "b.jpg")
    skipped, found = find(str(tmp_path / pattern))
    assert isinstance(skipped, Skipped)
    assert skipped.reference == str(tmp_path / "a.HEIC")
    assert "convert it to JPEG" in skipped.reason
    assert found == Source(str(tmp_path / "b.jpg"), "b.jpg")


def test_linked_folders_are_searched_each_once(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    touch(root / "a.jpg", root / "sub" / "b.jpg", tmp_path / "elsewhere" / "deep" / "c.jpg")
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "sub" / "again").symlink_to(tmp_path / "elsewhere" / "deep")
    (root / "sub" / "loop").symlink_to(root)
    for source in (root, root / "**" / "*.jpg"):
        assert [Path(name).name for name in names(source)] == ["a.jpg", "c.jpg", "b.jpg"]


def test_references_open_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "photos" / "a.jpg")
    monkeypatch.chdir(tmp_path)
    [found] = find("photos")
    assert isinstance(found, Source)
    assert found.reference == str(tmp_path / "photos" / "a.jpg")


def test_one_photo_is_a_source(tmp_path: Path) -> None:
    touch(tmp_path / "a.jpg")
    assert names(tmp_path / "a.jpg") == ["a.jpg"]


def test_a_glob_takes_folders_and_names_its_finds_below_its_fixed_part(tmp_path: Path) -> None:
    touch(tmp_path / "x" / "1" / "a.jpg", tmp_path / "x" / "2" / "b.jpg", tmp_path / "x" / "2" / "b.txt")
    assert names(tmp_path / "x" / "*" / "*") == ["1/a.jpg", "2/b.jpg"]
    assert names(tmp_path / "**" / "b.*") == ["x/2/b.jpg"]


def test_a_glob_ends_where_links_go_in_circles_and_loses_nothing_behind_them(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    touch(root / "a" / "1.jpg", root / "b" / "deep" / "2.jpg", root / "b" / ".hidden" / "3.jpg", root / "4.jpg")
    for name in ("up", "over"):
        (root / "a" / name).symlink_to(root)
        (root / "b" / name).symlink_to(root / "a")
    (root / "c").symlink_to(root / "b" / "deep")
    assert names(root / "**" / "*.jpg") == ["4.jpg", "a/1.jpg", "c/2.jpg"]
    assert names(root / "**") == ["4.jpg", "a/1.jpg", "c/2.jpg"]
    assert names(root / "**" / "**" / "*.jpg") == ["4.jpg", "a/1.jpg", "c/2.jpg"]
    assert names(root / "**" / "deep" / "*.jpg") == ["b/deep/2.jpg"]
    assert names(root / "**" / "b" / "**" / "2.*") == ["b/deep/2.jpg"]
    assert names(root / "b" / "**" / ".hidden" / "*") == [".hidden/3.jpg"]
    assert names(root / "a" / "*" / "*.jpg") == ["over/4.jpg"]


@pytest.mark.parametrize("pattern", ["", "**/*.jpg", "**"])
def test_a_folder_below_that_cannot_be_listed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    touch(tmp_path / "a.jpg", tmp_path / "locked" / "b.jpg")
    scandir = os.scandir

    def refusing(path: str | int) -> object:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    found, skipped = find(str(tmp_path / pattern))
    assert found == Source(str(tmp_path / "a.jpg"), "a.jpg")
    assert isinstance(skipped, Skipped)
    assert skipped.reference == str(tmp_path / "locked")
    assert "Permission denied" in skipped.reason


@pytest.mark.parametrize("name", ["[1] what?*.jpg", "naïve ☃ 猫.jpg", "a\nb.jpg", "#%20.jpg", "a::b.jpg", " .jpg"])
def test_any_name_is_found_in_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "[all] *?"
    touch(folder / name)
    assert names(folder) == [name]
    assert names(folder / name) == [name]


def test_a_name_that_is_no_utf8_is_found_and_read(tmp_path: Path) -> None:
    touch(tmp_path / os.fsdecode(b"\xff\xfe.jpg"))
    [found] = find(str(tmp_path))
    assert isinstance(found, Source)
    assert read(found.reference, 10) == b"x"


def test_a_text_list_is_relative_to_its_folder(tmp_path: Path) -> None:
    outside = tmp_path / "elsewhere" / "z.jpg"
    listing = tmp_path / "lists" / "some.txt"
    touch(listing)
    listing.write_text(f"b.jpg\r\n\nsub/../a.jpg\n{outside}\nhttps://example.org/x/y.jpg?size=2\n")
    found = [each for each in find(str(listing)) if isinstance(each, Source)]
    assert [each.reference for each in found] == [
        str(tmp_path / "lists" / "b.jpg"),
        str(tmp_path / "lists" / "a.jpg"),
        str(outside),
        "https://example.org/x/y.jpg?size=2",
    ]
    assert [each.name for each in found] == ["b.jpg", "a.jpg", str(outside).lstrip("/"), "example.org/x/y.jpg"]


@pytest.mark.parametrize("listing", ["some.txt", "-"])
def test_what_editors_leave_in_a_list_is_no_part_of_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listing: str
) -> None:
    text = "\ufeffa.jpg \t\r\n  \n b.jpg\n"
    (tmp_path / "some.txt").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    assert names(listing) == ["a.jpg", " b.jpg"]


def test_a_json_list_takes_names_with_line_breaks(tmp_path: Path) -> None:
    listing = tmp_path / "some.json"
    listing.write_text("\ufeff" + json.dumps(["a\nb.jpg"]))
    assert names(listing) == ["a\nb.jpg"]


@pytest.mark.parametrize("content", ["{", '{"a": 1}', "[1]"])
def test_a_json_list_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    listing = tmp_path / "some.json"
    listing.write_text(content)
    with pytest.raises(AnnotateError, match=r"some\.json"):
        list(find(str(listing)))


def test_standard_input_is_taken_line_by_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO("a.jpg\nb.jpg\n"))
    assert names("-") == ["a.jpg", "b.jpg"]


def test_paths_can_be_named_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert list(of_references([Path("a.jpg")])) == [Source(str(tmp_path / "a.jpg"), "a.jpg")]


@pytest.mark.parametrize("source", ["missing", "missing/*.jpg", ".", "empty.txt", "empty.json", "-"])
def test_a_source_without_photos_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "empty.json").write_text("[]")
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AnnotateError, match="There is no"):
        list(find(source))


def test_remote_folders_globs_photos_and_lists(request: pytest.FixtureRequest) -> None:
    fs = fsspec.filesystem("memory")
    request.addfinalizer(lambda: fs.rm("/bucket", recursive=True))
    fs.pipe(
        {"/bucket/a.jpg": b"1", "/bucket/sub/b b.png": b"22", "/bucket/c.md": b"", "/bucket/l.txt": b"sub/b b.png\n"}
    )
    assert names("memory://bucket") == ["a.jpg", "sub/b b.png"]
    assert names("memory://bucket/*.jpg") == ["a.jpg"]
    assert names("memory://bucket/**/*.png") == ["sub/b b.png"]
    assert names("memory://bucket/l.txt") == ["sub/b b.png"]
    assert [read(each.reference, 9) for each in find("memory://bucket") if isinstance(each, Source)] == [b"1", b"22"]
    assert [read(each.reference, 9) for each in find("memory://bucket/l.txt") if isinstance(each, Source)] == [b"22"]
    with pytest.raises(AnnotateError, match="There is no photo"):
        names("memory://bucket/none")


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ("../../a.jpg", "a.jpg"),
        ("/x/./y//../a.jpg", "x/y/a.jpg"),
        ("https://h/../..//a.jpg", "h/a.jpg"),
        ("s3://../a.jpg", "a.jpg"),
        ("..", "photo"),
    ],
)
def test_a_name_leads_nowhere_else(request: pytest.FixtureRequest, entry: str, name: str) -> None:
    """The output makes files of it, and whoever fills a list or a bucket chooses it."""
    fs = fsspec.filesystem("memory")
    request.addfinalizer(lambda: fs.rm("/bucket", recursive=True))
    fs.pipe("/bucket/l.txt", entry.encode())
    assert names("memory://bucket/l.txt") == [name]


def test_what_is_below_an_output_is_found_by_no_folder_or_glob_and_can_be_listed(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    touch(root / "a.jpg", root / "out" / "images" / "a.jpg", root / "out" / "images2" / "b.jpg")
    (tmp_path / "link").symlink_to(root)
    listing = root / "list.txt"
    listing.write_text("out/images/a.jpg\n")
    without = [open_output(str(tmp_path / "link" / "out")).address("images")]
    for source in (root, root / "**" / "*.jpg"):
        assert [each.name for each in sources(source, without)] == ["a.jpg", "out/images2/b.jpg"]
    assert [each.name for each in sources(listing, without)] == ["out/images/a.jpg"]
    with pytest.raises(AnnotateError, match="There is no photo") as refused:
        sources(root / "out" / "images", without)
    assert f"not in what earlier runs made: {root}/out/images" in refused.value.hint


def test_what_is_below_a_remote_output_is_not_found(request: pytest.FixtureRequest) -> None:
    fs = fsspec.filesystem("memory")
    request.addfinalizer(lambda: fs.rm("/bucket", recursive=True))
    fs.pipe({"/bucket/a.jpg": b"1", "/bucket/out/images/a.jpg": b"1"})
    without = [open_output("memory://bucket/out/").address("images")]
    assert [each.name for each in sources("memory://bucket", without)] == ["a.jpg"]
    assert [each.name for each in sources("memory://bucket/**/*.jpg", without)] == ["a.jpg"]


def test_a_url_without_its_package_says_what_to_install() -> None:
    fsspec.register_implementation("absent", "no_such_package.FileSystem", errtxt="pip install absentfs", clobber=True)
    with pytest.raises(AnnotateError) as refused:
        names("absent://bucket/photos")
    assert refused.value.hint == "pip install absentfs"


def test_an_unknown_kind_of_url_is_refused() -> None:
    with pytest.raises(AnnotateError, match="nonsense://"):
        names("nonsense://x")


def test_a_photo_that_is_gone_or_too_large_says_so(tmp_path: Path) -> None:
    with pytest.raises(ImageUnavailable, match="no such file"):
        read(str(tmp_path / "gone.jpg"), 10)
    touch(tmp_path / "a.jpg")
    with pytest.raises(ImageUnreadable, match="more than 0 bytes"):
        read(str(tmp_path / "a.jpg"), 0)


def test_each_photo_comes_once_and_with_a_name_of_its_own() -> None:
    listed = [
        Source("h://x/a.png?1", "x/a.png"),
        Source("h://x/a.png?2", "x/a.png"),
        Source("h://x/a.png?1", "x/a.png"),
    ]
    assert list(distinct(listed)) == [Source("h://x/a.png?1", "x/a.png"), Source("h://x/a.png?2", "x/a-2.png")]
