"""The report: one file that needs nothing else, the answer first; and figures that stay in their folder."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest

from excidiff.inverse.results.figures import bar_ticks, map_png, overview, radial_profile
from excidiff.inverse.results.report import report_page, write_figures
from excidiff.inverse.results.result import Estimate, FitResult, Measurement
from excidiff.inverse.results.scatter import scale, scatter_figure
from tests.results import at_most, film, image, laser, length, narrow_film


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


def test_where_only_a_limit_is_known_the_limit_is_shown():
    """FAULTS 15: nowhere the value at which the search ended, nor a length or a percentage made from it."""
    text = Page(report_page(narrow_film())).text
    assert "< 0.0080 µm" in text
    assert "diffusion length √(Dτ), upper limit (95 %)" in text
    assert "< 2.2 × 10⁻⁵ µm²/ns (95 %)" in text
    assert "< 0.00022 cm²/s" in text or "< 2.2 × 10⁻⁴ cm²/s" in text
    assert "< 0.020 photons/pixel (95 %)" in text
    assert "0.0025" not in text
    assert "at its bound" not in text
    assert "Three lengths" not in text
    assert "weighted mean" not in text


def _axes_of(measurements, mean):
    figure = scatter_figure(measurements, mean)
    return figure.axes[0]


def test_a_bad_image_does_not_squash_the_others():
    """The scale is that of the accepted images; the flagged one stands at its edge, the failed one on the axis."""
    good = [image(f"spot_{number}.tif", value=0.48 + 0.001 * number) for number in range(3)]
    bad = image("far.tif", "flagged", "no spot", value=7.0)
    lost = Measurement("image", "torn.tif", "failed", "torn")
    low, high = scale([*good, bad, lost], length(0.481, 0.002))
    assert 0.46 < low < 0.476
    assert 0.486 < high < 0.5
    axes = _axes_of([*good, bad, lost], length(0.481, 0.002))
    assert axes.get_ylim() == (low, high)
    places = {line.get_marker(): line.get_xydata()[0].tolist() for line in axes.lines if line.get_marker() in "^x"}
    assert places == {"^": [3.0, 0.97], "x": [4.0, 0.0]}
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["spot_0", "spot_1", "spot_2", "far", "torn"]


def test_limits_have_a_scale_of_their_own():
    narrow = narrow_film().images
    assert scale(narrow, None) == (0.0, 1.2 * 0.008)
    assert scale([*narrow, image()], length(0.48, 0.002))[0] > 0.4
    texts = _axes_of(narrow, at_most(0.008)).get_legend().get_texts()
    assert {text.get_text() for text in texts} == {"limit (95 %)", "limit of the film"}


def test_numbers_in_the_figure_are_those_of_the_headings():
    """Many images stand with their numbers; so do their headings and their rows."""
    series = tuple(image(f"spot_{number:02d}.tif") for number in range(13))
    axes = _axes_of(series, length(0.48, 0.001))
    assert [tick.get_text() for tick in axes.get_xticklabels()] == [str(number) for number in range(1, 14)]
    text = Page(report_page(film(series))).text
    assert text.count("13 · spot_12.tif") == 2


def test_paths_and_repeated_names_are_not_shown():
    """A sentence names the file, once, not the way to it."""
    lost = Measurement("image", "/far/away/torn.tif", "failed", "torn.tif: the file ends too early")
    one = image("/far/away/spot.tif")
    result = replace(film((one, lost)), verdicts=("/far/away/torn.tif is failed: torn.tif: the file ends too early.",))
    text = Page(report_page(result)).text
    assert "/far/away" not in text
    assert "torn.tif is failed: the file ends too early." in text
    assert "failed: the file ends too early" in text
    assert "/far/away" not in repr(result)


def test_one_doubtful_image_is_flagged_not_partial():
    text = Page(report_page(film((image(status="flagged", reason="too dim"),)))).text
    assert "The data were fitted, but see what is said of them below: 1 image" in text
    assert "could not be used" not in text


def test_settings_are_in_words():
    camera = {"gain": 1.0, "offset": 0.0, "read_noise": 0.0, "excess_noise": 1.0, "gain_known": False}
    settings = {"camera": camera, "pixel_size": [0.055, 0.055], "pixel_size_origin": "ImageJ", "lifetime": [2.9, 0.1],
                "bounds": {"background": [None, 3.0]}, "background": "fit", "region": [10, 90, 5, 80]}  # fmt: skip
    text = Page(report_page(replace(film(), settings=settings))).text
    assert "gain not given, taken as 1; offset 0; read noise 0; excess noise 1" in text
    assert "0.055 µm (ImageJ)" in text
    assert "2.9 ± 0.1 ns" in text
    assert "background at most 3" in text
    assert "x 10 to 90, y 5 to 80 pixels" in text


def test_colour_bars_have_few_numbers():
    """On a square-root scale no two numbers of a bar overprint each other: a tenth of its height apart, or more."""
    for top in (1.0, 7.0, 99.0, 531.0, 612.0, 40123.0):
        ticks = np.array(bar_ticks(top))
        assert 3 <= ticks.size <= 5
        assert ticks[-1] <= 1.0001 * top
        assert np.diff(np.sqrt(ticks / top)).min() > 0.12


def test_the_overview_is_laid_out_without_overlap():
    """Maps, bars and profile of one height, and no text of one reaches into another, for wide and for high images."""
    one = image()
    for counts in (one.counts, one.counts[:20], one.counts[:, :25]):
        part = np.s_[: counts.shape[0], : counts.shape[1]]
        assert one.model is not None
        small = replace(one, counts=counts, model=one.model[part], mask=None)
        figure = overview(small, laser())
        figure.canvas.draw()
        boxes = [axes.get_tightbbox() for axes in figure.axes]
        boxes.sort(key=lambda box: box.x0)
        assert all(left.x1 <= right.x0 + 1 for left, right in pairwise(boxes))
        assert boxes[0].x0 >= 0
        assert boxes[-1].x1 <= figure.bbox.x1
        heights = {round(axes.get_position().height, 6) for axes in figure.axes}
        assert len(heights) == 1


def test_on_paper_nothing_is_cut_off():
    """Printed, a table has no scroll bar, hashes break, and the table of all images may be smaller."""
    page = report_page(film())
    paper = page[page.index("@media print") : page.index("</style>")]
    assert ".scroll { overflow: visible" in paper
    assert "table.hashes td:last-child { min-width: 0; word-break: break-all" in paper
    assert '<table class="hashes">' in page
    assert '<table class="all">' in page
