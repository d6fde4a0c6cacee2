"""The report: one file that needs nothing else, the answer first; and figures that stay in their folder."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from excidiff.inverse.results.figures import map_png, radial_profile
from excidiff.inverse.results.report import report_page, write_figures
from excidiff.inverse.results.result import Estimate, FitResult, Measurement
from tests.results import film, image, laser


class Page(HTMLParser):
    """What a browser would see: visible words, and the tags with their attributes."""

    def __init__(self, text: str):
        super().__init__()
        self.words: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(report_page(film()))


def test_the_answer_comes_first(page):
    assert page.text.index("0.4796 ± 0.0021 µm") < page.text.index("What the data say")
    assert page.text.index("fixes the diffusion length") < page.text.index("spot_000.tif")
    assert page.open == []  # every tag is closed


def test_it_needs_nothing_else(page):
    """No script, no link to anything outside: every picture is inside the file."""
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object"}
    sources = [attributes["src"] or "" for tag, attributes in page.tags if tag == "img"]
    assert len(sources) == 3 * 4 + 1  # image, model, residual, profile of two images and the laser; and the scatter
    assert all(source.startswith("data:image/") for source in sources)
    assert not re.search(r"url\(|@import|https?://", report_page(film()))


def test_everybody_can_read_it(page):
    """Alternative texts, header cells with their scope, a language."""
    assert all(attributes.get("alt") for tag, attributes in page.tags if tag == "img")
    assert all(attributes.get("scope") in ("row", "col") for tag, attributes in page.tags if tag == "th")
    assert dict(page.tags)["html"] == {"lang": "en"}


def test_flagged_and_failed_images_are_in_plain_sight(page):
    """FAULTS 21: the bad images are named with the reason, on the page and in the table."""
    assert page.text.count("the model does not describe it") == 2
    assert page.text.count("spot_002.tif is truncated") == 2
    assert "flagged" in {attributes.get("class") for tag, attributes in page.tags if tag == "tr"}


def test_a_long_series_stays_readable(tmp_path, monkeypatch):
    """FAULTS 21: of fifty images the bad one is always drawn, the good ones not all; the table has every one."""
    monkeypatch.setattr("excidiff.inverse.results.report.PICTURED", 1)
    series = [image(f"spot_{number}.tif") for number in range(3)]
    series.append(image("bad.tif", "flagged", "too dim"))
    result = film(tuple(series))
    page = Page(report_page(result))
    drawn = [attributes["alt"] or "" for tag, attributes in page.tags if tag == "img"]
    assert [any(f"{name} in standard" in alt for alt in drawn) for name in ("spot_0.tif", "spot_1.tif", "bad.tif")] == [
        True,
        False,
        True,
    ]
    assert "2 more images fitted without remark" in page.text
    assert all(page.text.count(entry.file) for entry in series)
    names = sorted(path.name for path in write_figures(result, tmp_path))
    assert names == sorted(
        f"{name}.{kind}" for name in ("image_01_spot_0", "image_04_bad", "images") for kind in ("png", "svg")
    )


def test_names_from_files_cannot_write_into_the_page():
    hostile = image('<script>alert("1")</script>.tif', "flagged", "<b>bold</b>")
    text = report_page(film((hostile,)))
    assert "<script" not in text
    assert "<b>bold" not in text


def test_a_result_without_values_has_a_page():
    failed = FitResult("failed", "uniform film", ("Nothing could be fitted.",), measurements=(
        Measurement("image", "a.tif", "failed", "empty"),
    ))  # fmt: skip
    assert "The fit failed" in Page(report_page(failed)).text


def test_the_page_is_drawn_from_saved_values(tmp_path):
    """The report of a result read back is the same to the last byte."""
    result = film()
    again = FitResult.load(result.save(tmp_path / "result.nc"))
    assert report_page(again) == report_page(result)


def test_figures_stay_in_their_folder(tmp_path):
    """FAULTS 28: a name from an input cannot lead out of the folder, nor overwrite another image's figure."""
    folder = tmp_path / "figures"
    folder.mkdir()

    result = film((image("../../escape.tif"), image("other/escape.tif")))
    files = write_figures(result, folder)
    assert all(file.resolve().parent == folder.resolve() for file in files)
    assert {file.name for file in files} == {file.name for file in folder.iterdir()}
    assert len({file.name for file in files}) == 6
    assert {entry.name for entry in tmp_path.iterdir()} == {"figures"}
    assert b"<svg" in (folder / "images.svg").read_bytes()[:2000]


def test_radial_profile_of_known_rings():
    """Mean, error and edge of a map that depends on the radius alone, its centre displaced by whole pixels.

    counts = ring number exactly, so means are the ring numbers; with V = counts the error is √(ring/n).
    """
    pixel, shape, shift = 0.1, (31, 41), (3, -5)
    y, x = np.indices(shape)
    ring = np.floor(np.hypot(x - 20 - shift[0], y - 15 - shift[1]) + 1e-9)
    at = {"centre_x": Estimate(shift[0] * pixel), "centre_y": Estimate(shift[1] * pixel)}
    flat = Measurement("image", "a", "fitted", None, at, counts=ring, model=ring, pixel_size=(pixel, pixel))
    profile = radial_profile(flat)
    np.testing.assert_allclose(profile.counts, np.arange(len(profile.counts)), atol=1e-12)
    sizes = np.bincount(ring.astype(int).ravel())
    np.testing.assert_allclose(profile.error[1:6], np.sqrt(np.arange(1, 6) / sizes[1:6]), rtol=1e-12)
    assert abs(profile.edge - 10.5 * pixel) < 1e-12


def test_masked_pixels_are_left_out():
    one = image()
    spoiled = one.counts.copy()
    spoiled[~one.mask] = 1e9
    np.testing.assert_array_equal(radial_profile(replace(one, counts=spoiled)).counts, radial_profile(one).counts)
    assert map_png(one.residual, -4.0, 4.0).startswith(b"\x89PNG")


def test_a_profile_without_fitted_centre_finds_the_spot():
    profile = radial_profile(laser())
    assert profile.counts[0] == max(profile.counts)
