"""Quantities: exact factors to house units, and a message for every slip that names what was probably meant."""

import math
import subprocess
import sys

import pytest

from excidiff.inverse.files.units import QUANTITIES, format_quantity, house_size, length_unit, parse_quantity
from excidiff.solver.solution import InputError


@pytest.mark.parametrize(
    ("text", "quantity", "house"),
    [
        ("0.5 cm^2/s", "diffusivity", 0.05),  # 1 cm²/s = 1e8 µm² / 1e9 ns
        ("0.5 cm²/s", "diffusivity", 0.05),
        ("5 um2/ns", "diffusivity", 5.0),
        ("5e-4 m**2 s^-1", "diffusivity", 0.5),
        ("40 nm", "pixel_size", 0.04),
        ("  40nm ", "pixel_size", 0.04),
        ("50 um", "length", 50.0),
        ("50 \u00b5m", "length", 50.0),  # micro sign
        ("50 \u03bcm", "length", 50.0),  # Greek mu
        ("50 microns", "length", 50.0),
        ("2 \u00c5", "length", 2e-4),
        ("200 ps", "lifetime", 0.2),
        ("3 /um^2", "density", 3.0),
        ("500 1/um^2", "density", 500.0),
        ("2e10 cm-2", "density", 200.0),  # 1 cm² = 1e8 µm²
        ("2e10 cm\u207b\u00b2", "density", 200.0),
        ("1/ns", "rate", None),
        ("1 1/ns", "rate", 1.0),
        ("5 1/us", "rate", 0.005),
        ("2e11 traps/cm^2", "density", 2000.0),
        ("3 µm⁻² ns⁻¹", "generation_density", 3.0),
        ("1e20 excitons/(cm^2 s)", "generation_density", 1e3),  # 1e-8 µm⁻² × 1e-9 ns⁻¹
        ("1e5 excitons", "excitons", 1e5),
        ("1e3 cm/s", "velocity", 0.01),  # 1 cm/s = 1e4 µm / 1e9 ns
        ("1e-20 cm^4/s", "auger", 1e-13),  # 1 cm⁴/s = 1e16 µm⁴ / 1e9 ns
        ("-2 um", "position", -2.0),
        ("0.2 eV", "energy", 200.0),
        ("-30 meV", "energy", -30.0),
        ("295 K", "temperature", 295.0),
        ("22 \u00b0C", "temperature", 295.15),
        ("0.3", "dimensionless", 0.3),
        (0.04, "pixel_size", 0.04),  # a number from Python is in house units
    ],
)
def test_house_units(text: str | float, quantity: str, house: float | None) -> None:
    """Error budget: the factors are exact; 1e-13 covers their rounding."""
    expected = 1.0 if house is None else house
    assert parse_quantity(text, quantity) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize(
    ("text", "quantity", "words"),
    [
        ("40", "pixel_size", ["has no unit", '"40 nm"']),
        ("400 um", "pixel_size", ["400 um", "0.001 to 100 um", "did you mean 400 nm?"]),
        ("0.245", "fwhm", ["has no unit", '"0.245 um"']),
        ("245", "fwhm", ["has no unit", '"245 nm"']),
        ("2.9", "lifetime", ["has no unit", '"2.9 ns"']),
        ("40 nn", "length", ["not known", "did you mean 40 nm?"]),
        ("5 n", "lifetime", ["not known", "did you mean 5 ns?"]),
        (400, "pixel_size", ["did you mean 400 nm?"]),
        ("5 s", "lifetime", ["did you mean 5 ns?"]),
        ("3000 mm", "fwhm", ["did you mean 3000 nm?"]),
        ("0 nm", "pixel_size", ["finite and positive"]),
        ("-5 ns", "lifetime", ["finite and positive"]),
        ("1e999 nm", "length", ["finite and positive"]),
        (math.nan, "length", ["finite and positive"]),
        ("800 nm", "energy", ["another kind", "meV"]),
        ("3 nm", "dimensionless", ["another kind", "no unit"]),
        ("0,5 cm^2/s", "diffusivity", ["decimal point, not a comma"]),
        ("5 px", "length", ["pixels", "no length"]),
        ("40 quux", "length", ["not known"]),
        ("40 nm^9^9^9", "length", ["cannot be read"]),
        ("40 nm**99", "length", ["cannot be read"]),
        ("__import__('os')", "length", ["not a number"]),
        ("", "length", ["not a number"]),
        ("0 1/ns", "rate", ["finite and positive"]),
        (10**400, "rate", ["finite and positive"]),
        ("1e-29 cm^6/s", "auger", ["another kind"]),  # of volumes, not of areas
        (True, "length", ["not a quantity"]),
        (None, "length", ["not a quantity"]),
    ],
)
def test_slips_are_named(text: object, quantity: str, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        parse_quantity(text, quantity, name="--option")
    assert str(caught.value).startswith("--option: ")
    for word in words:
        assert word in str(caught.value)


def test_bare_numbers_only_where_allowed() -> None:
    assert parse_quantity("40", "length", allow_bare=True) == 40.0


def test_nothing_at_all_only_where_allowed() -> None:
    assert parse_quantity("0 1/ns", "rate", zero=True) == 0.0
    with pytest.raises(InputError, match="finite and not negative"):
        parse_quantity("-1 1/ns", "rate", zero=True)


@pytest.mark.parametrize(
    ("unit", "quantity", "size"), [("cm^2/s", "diffusivity", 0.1), ("eV", "energy", 1e3), ("cm^-2", "density", 1e-8)]
)
def test_units_on_their_own(unit: str, quantity: str, size: float) -> None:
    """Error budget: exact factors and their rounding."""
    assert house_size(unit, quantity, name="map") == pytest.approx(size, rel=1e-13)


@pytest.mark.parametrize("unit", ["", "nm", "bla", "2 nm"])
def test_units_of_another_kind(unit: str) -> None:
    with pytest.raises(InputError, match=r"map: .*write it in 1/um\^2"):
        house_size(unit, "density", name="map")


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("um", 1.0),
        ("micron", 1.0),
        ("\\u00B5m", 1.0),  # ImageJ writes the escape itself
        ("\u00b5m", 1.0),
        ("\u03bcm", 1.0),
        ("nm", 1e-3),
        ("Inch", 25400.0),
        ("cm", 1e4),
        ("pixel", None),
        ("", None),
        (None, None),
        ("furlong", None),
    ],
)
def test_units_that_files_name(text: str | None, length: float | None) -> None:
    assert length_unit(text) == length


@pytest.mark.parametrize(
    ("value", "quantity", "text"),
    [
        (0.04, "length", "40 nm"),
        (0.47958, "length", "0.4796 µm"),
        (0.25, "time", "250 ps"),
        (5.0, "time", "5 ns"),
        (0.046, "diffusivity", "0.046 µm²/ns (0.46 cm²/s)"),
        (500.0, "density", "500 1/µm²"),
        (0.0, "length", "0 µm"),
        (None, "length", "not known"),
    ],
)
def test_quantities_in_words(value: float | None, quantity: str, text: str) -> None:
    assert format_quantity(value, quantity) == text


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_every_house_unit_reads_back(quantity: str) -> None:
    """What a message tells people to write is accepted."""
    kind = QUANTITIES[quantity]
    value = max(kind.low, 1e-3) * 2
    assert parse_quantity(f"{value!r} {kind.title}", quantity) == pytest.approx(value, rel=1e-13)


def test_import_leaves_pint_alone() -> None:
    """Reading an image must not wait for the unit library."""
    code = "import sys, excidiff.inverse.files.readers as _; assert not {'pint', 'tifffile', 'h5py'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
