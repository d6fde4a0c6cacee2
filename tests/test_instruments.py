"""Files of instruments: photon counters, and tables with more above the data or curves below each other.

Counts are whole numbers and must come back exactly; times and axes within rounding, 1e-9 of a bin or step.
"""

from pathlib import Path

import numpy as np
import pytest

from excidiff.inverse.files.decays import read_decay, read_decays, read_response
from excidiff.inverse.files.readers import describe, read_image
from excidiff.solver.solution import InputError
from tests.instruments import COUNTS, FILES, PERIOD, WIDTH, write_phu, write_ptu, write_sdt

ptufile = pytest.importorskip("ptufile")
sdtfile = pytest.importorskip("sdtfile")


def told(notes: tuple[str, ...], words: str) -> bool:
    return any(words in note for note in notes)


# Photon counters.


def test_ptu(tmp_path: Path):
    """Every photon of a channel, against the library's own histogram; empty bins up to the period are data."""
    file = write_ptu(tmp_path / "film.ptu", {1: COUNTS, 4: 2 * COUNTS}, width=WIDTH, period=PERIOD, pulses=200_000)
    found = read_decay(file, column="channel 4")
    assert found.counts.size == 1000
    np.testing.assert_array_equal(found.counts, np.append(2 * COUNTS, np.zeros(200)))
    np.testing.assert_allclose(found.time, WIDTH * (np.arange(1000) + 0.5), rtol=1e-12)
    assert found.period == PERIOD
    assert told(found.notes, "MeasDesc_GlobalResolution")
    with ptufile.PtuFile(file) as own:
        histogram = own.decode_histogram()
    assert [d.counts[: histogram.shape[1]].tolist() for d in read_decays(file)] == [
        histogram[row].tolist() for row in (0, -1)
    ]
    np.testing.assert_array_equal(read_response(file, column=1).counts[:800], COUNTS)
    with pytest.raises(InputError, match=rf"2 curves \(1: channel 1, {COUNTS.sum()} counts; 2: channel 4"):
        read_decay(file)
    with pytest.raises(InputError, match="no curve 'channel 2'; there are: 1: channel 1"):
        read_decay(file, column="channel 2")
    with pytest.raises(InputError, match="skip= is for tables"):
        read_decay(file, column=1, skip=3)


def test_ptu_of_a_scan_adds_up_its_pixels(tmp_path: Path):
    """An image of 4 × 5 pixels written by the library: one curve of all photons."""
    image = np.random.default_rng(4).poisson(2, (4, 5, 900)).astype(np.uint8)
    with ptufile.PtuWriter(tmp_path / "scan.ptu", image.shape, 25e-9, 25e-12, 1e-3) as writer:
        writer.write(image)
    found = read_decay(tmp_path / "scan.ptu")
    np.testing.assert_array_equal(found.counts[:900], image.sum(axis=(0, 1)))
    assert found.counts[900:].sum() == 0


def test_the_period_that_is_given_wins(tmp_path: Path):
    file = write_ptu(tmp_path / "film.ptu", {1: COUNTS}, width=WIDTH, period=PERIOD, pulses=10**6)
    found = read_decay(file, period="21 ns")
    assert found.period == 21.0
    assert found.counts.size == 840
    assert told(found.notes, "21 ns, is used, though the header of film.ptu")
    assert told(found.notes, "160 bins beyond one period cut off, with 0 counts")
    assert not told(read_decay(file, period="25.1 ns").notes, "is used, though")
    with pytest.raises(InputError, match=r"% of the counts of channel 1 lie later than the laser's period of 10 ns"):
        read_decay(file, period="10 ns")


def test_phu(tmp_path: Path):
    """The bin is MDescResolution, four times the hardware's here; 700 empty bins lie beyond the period."""
    long = np.append(COUNTS, np.zeros(700, int))
    file = write_phu(tmp_path / "film.phu", [long, np.zeros(9), 3 * COUNTS], width=WIDTH, period=PERIOD)
    found = read_decays(file)
    assert [d.counts.size for d in found] == [1000, 800]
    np.testing.assert_array_equal(found[0].counts, long[:1000])
    np.testing.assert_array_equal(found[1].counts, 3 * COUNTS)
    assert found[0].width == pytest.approx(WIDTH, rel=1e-12)
    assert found[0].period == PERIOD
    assert told(found[0].notes, "500 bins beyond one period cut off, with 0 counts")
    assert told(read_decay(file, column="curve 2").notes, "counts of curve 2")


@pytest.mark.parametrize("zipped", [False, True])
def test_sdt(tmp_path: Path, zipped: bool):
    file = write_sdt(tmp_path / "film.sdt", [COUNTS[None], 2 * COUNTS[None]], window=20.0, period=PERIOD, zipped=zipped)
    found = read_decay(file, column="block 1")
    np.testing.assert_array_equal(found.counts, 2 * COUNTS)
    with sdtfile.SdtFile(file) as own:
        np.testing.assert_array_equal(found.counts, own.data[1][0])
        np.testing.assert_allclose(found.time - found.width / 2, 1e9 * own.times[1], atol=1e-6)
    assert found.period == pytest.approx(PERIOD, rel=1e-5)
    scan = np.random.default_rng(5).poisson(2, (4, 5, 256))
    file = write_sdt(tmp_path / "scan.sdt", [scan], window=20.0, period=PERIOD, zipped=zipped)
    np.testing.assert_array_equal(read_decay(file).counts, scan.sum(axis=(0, 1)))


def test_pile_up_is_told(tmp_path: Path):
    """6 % counts per pulse: over the 5 % from which on late photons are missed; 4 % are not worth a word."""
    total = int(COUNTS.sum())
    for share, said in ((0.06, True), (0.04, False)):
        seconds = total / share * PERIOD * 1e-9
        files = (
            write_ptu(tmp_path / "a.ptu", {1: COUNTS}, width=WIDTH, period=PERIOD, pulses=int(total / share)),
            write_sdt(tmp_path / "a.sdt", [COUNTS[None]], window=20.0, period=PERIOD, seconds=seconds),
        )
        for file in files:
            assert told(read_decay(file).notes, "counts per pulse: above 5 %") == said, file
            assert ("pile-up" in str(describe(file))) == said, file


def test_response_and_decay_of_one_kind(tmp_path: Path):
    file = write_phu(tmp_path / "film.phu", [COUNTS], width=WIDTH, period=PERIOD)
    response = write_sdt(tmp_path / "irf.sdt", [COUNTS[None]], window=20.0, period=PERIOD)
    found = read_decay(file, irf=response)
    np.testing.assert_array_equal(found.irf.counts, COUNTS)  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["ptu", "phu", "sdt"])
def test_counters_are_described(tmp_path: Path, kind: str):
    file = FILES[f"film.{kind}"](tmp_path / f"film.{kind}")
    lines = {key: str(value) for key, value in describe(file).items()}
    assert kind in lines["format"]
    assert "in steps of 25 ps" in lines["axis time"]
    assert lines["laser period"].startswith("25 ns, from the ")
    assert any(f"{COUNTS.sum()} counts in all" in line for line in lines.values())
    with pytest.raises(InputError, match="decays are read with read_decay"):
        read_image(file)


def test_t2_mode_is_refused(tmp_path: Path):
    file = write_ptu(tmp_path / "film.ptu", {1: COUNTS}, width=WIDTH, period=PERIOD, mode=2)
    with pytest.raises(InputError, match="T2 mode"):
        read_decay(file)


def test_the_measured_decay_as_photons(data: Path, tmp_path: Path):
    """A table, whose times are the bins' centres, written as a .phu: the same counts at the same times."""
    table = read_decay(data / "film_decay" / "decay.csv", period="25 ns")
    counts = table.counts.astype(int)
    found = read_decay(write_phu(tmp_path / "film.phu", [counts], width=table.width, period=25.0))
    np.testing.assert_array_equal(found.counts, table.counts)
    assert found.period == table.period
    np.testing.assert_allclose(found.time, table.time, rtol=1e-9)


# Tables with more above the data, and with curves below each other.


def test_rows_above_the_data(data: Path):
    """GaAs at five powers: three rows of power, filter and background, then time and five decays of 5604 bins."""
    file = data / "gaas_trpl" / "sample1.csv"
    with pytest.raises(InputError, match=r"its first 4 rows after 0 have the same time.*skip=3"):
        read_decay(file, time_unit="ns", column="x2")
    raw = np.loadtxt(file, delimiter=",", skiprows=4)
    found = read_decays(file, time_unit="ns", skip=3)
    assert len(found) == 5
    for number, decay in enumerate(found, 1):
        np.testing.assert_array_equal(decay.counts, raw[:, number])
        np.testing.assert_allclose(decay.time, raw[:, 0], rtol=0, atol=1e-6)
        assert told(decay.notes, "3 rows before the data left out")
    np.testing.assert_array_equal(read_decay(file, time_unit="ns", skip=3, column=4).counts, raw[:, 4])


def test_remarks_above_the_data_are_found(tmp_path: Path):
    rows = [f"{0.1 * k:g},{100 - k},{200 - k}" for k in range(30)]
    file = tmp_path / "powers.csv"
    file.write_text("\n".join(["time_ns,low,high", "power (W),1e-8,2e-8", "filter,0,0.5", *rows]))
    found = read_decay(file, column="high")
    np.testing.assert_array_equal(found.counts, 200.0 - np.arange(30))
    assert told(found.notes, "above the data left out: power (W), filter")
    assert [d.counts[0] for d in read_decays(file)] == [100, 200]


def test_curves_below_each_other(data: Path):
    """CdTe: ten decays and four terahertz transients, the time falls back 13 times; each curve against numpy's."""
    file = data / "cdte_trpl" / "CD0_final.csv"
    options = {"time_unit": "ns", "column": 1, "uncertainty": 2}
    with pytest.raises(InputError, match=r"14 curves below each other \(curve 0: 501 rows, 0 ns to 25 ns, 177338 in"):
        read_decay(file, **options)
    raw = np.loadtxt(file, delimiter=",")
    pieces = np.split(raw, np.flatnonzero(np.diff(raw[:, 0]) < 0) + 1)
    for number in range(10):
        found = read_decay(file, curve=number, **options)
        np.testing.assert_array_equal(found.counts, pieces[number][:, 1])
        np.testing.assert_array_equal(found.uncertainty, pieces[number][:, 2])
    with pytest.raises(InputError, match="there is no curve 14; there are curve 0"):
        read_decay(file, curve=14, **options)
    with pytest.raises(InputError, match=r"^column 1, curve 10: .*unequal width"):
        read_decays(file, **options)


def test_stacked_curves_by_name(tmp_path: Path):
    rows = [f"{0.1 * k:g},{n - k},{5}" for n in (100, 300) for k in range(20)]
    file = tmp_path / "stack.csv"
    file.write_text("\n".join(["time_ns,counts,sigma", *rows]))
    found = read_decays(file)
    assert [d.counts[0] for d in found] == [100, 300]
    assert all((d.uncertainty == 5).all() for d in found)
    assert told(found[1].notes, "curve 1 of those below each other")
    np.testing.assert_array_equal(read_response(file, curve=1).counts, 300.0 - np.arange(20))
    file.write_text("\n".join(["time_ns,counts,sigma", *rows[:23]]))
    with pytest.raises(InputError, match="fall back 1 times, but 3 rows from row 20"):
        read_decay(file, curve=0)
    with pytest.raises(InputError, match="skip=99 rows; the table has 23"):
        read_decay(file, skip=99)
