"""The page on the redder rim: the sizes it prints, and how far its grid and its bins move them."""

from functools import cache

import numpy as np
import pytest

from examples import rim_redshift as page

pytestmark = pytest.mark.gate
OPTIMISED = True


@cache
def shift(mechanism: str, model: int, size: float) -> float:
    return list(page.MODELS[mechanism].values())[model](size).shift


def around(mechanism: str, size: float) -> list[float]:
    """The two sizes of the page's sweep that hold `size` between them."""
    sizes = page.LOOKS[mechanism][2]
    above = int(np.searchsorted(sizes, size))
    return [float(one) for one in sizes[above - 1 : above + 1]]


@pytest.mark.parametrize(
    ("mechanism", "model", "sizes"),
    [
        ("relaxation", 0, (14.4, 17.8, 28.8)),
        ("relaxation", 2, (19.8, 23.3, 33.2)),
        ("traps that fill", 0, (16.2, 28.6)),
        ("traps that fill", 2, (5.93, 9.24)),
        ("reabsorption", 0, (0.0743, 0.135)),
        ("landscape", 0, (3.75, 5.62, 13.1)),
        ("landscape", 2, (None, 14.5)),  # 200 places a size: the middle one
    ],
)
def test_the_printed_sizes(mechanism: str, model: int, sizes: tuple[float | None, ...]):
    """To half a per cent, the rounding of three digits at worst."""
    for wanted, size in zip(page.PUBLISHED[: len(sizes)], sizes, strict=True):
        if size is None:
            continue
        pair = around(mechanism, size)
        own = list(page.MODELS[mechanism].values())[model]
        found = page.Sweep(own, np.array(pair), np.array([shift(mechanism, model, one) for one in pair]))
        assert found.needed(wanted) == pytest.approx(size, rel=5e-3)


@pytest.mark.parametrize(
    ("mechanism", "model", "most"), [("relaxation", 3, 0.8), ("traps that fill", 0, 2.8), ("reabsorption", 0, 2.8)]
)
def test_what_is_out_of_reach(mechanism: str, model: int, most: float):
    """None of every fourth size that is tried gives as much."""
    assert max(shift(mechanism, model, float(size)) for size in page.LOOKS[mechanism][2][::-4]) < most


@pytest.mark.parametrize("mechanism", list(page.MODELS))
def test_between_the_sizes(mechanism: str):
    """Straight lines between logarithms: at the size needed for 1.2 nm the model itself gives that to 2 %."""
    size = {"relaxation": 17.8, "traps that fill": 28.6, "reabsorption": 0.135, "landscape": 5.62}[mechanism]
    assert shift(mechanism, 0, size) == pytest.approx(1.2, rel=0.02)


def test_numerics():
    """Half the spacing moves no shift by more than 3 %, twice the bins by 1 %."""
    for model, size in ((page.relaxation, 17.8), (page.guided, 0.135), (page.hill, 5.62)):
        assert model(size, cells=96).shift == pytest.approx(model(size).shift, rel=0.03)
    assert page.relaxation(17.8, bins=48).shift == pytest.approx(page.relaxation(17.8).shift, rel=0.01)


def test_the_hot_run_ahead():
    """Few hops, and D by those that succeed: the rim is bluer."""
    assert page.relaxation(25.0, rate=0.3, mobility="hops").shift < -0.3


def test_the_table(monkeypatch: pytest.MonkeyPatch):
    """What the page prints, of two mechanisms at three sizes each: what is needed stands in it, or a dash."""
    kept = {"relaxation": {"ντ = 5": page.relaxation}, "reabsorption": {"3·10⁴ per cm": page.guided}}
    sizes = {"relaxation": np.array([12.0, 18.0, 27.0]), "reabsorption": np.array([0.07, 0.14, 0.28])}
    looks = {name: (*page.LOOKS[name][:2], sizes[name], page.LOOKS[name][3]) for name in kept}
    monkeypatch.setattr(page, "MODELS", kept)
    monkeypatch.setattr(page, "LOOKS", looks)
    found = page.sweeps()
    lines = page.table(found).splitlines()
    assert sum("–" in line for line in lines) == 2  # 2.8 nm are beyond both
    assert f"{found['relaxation'][0].needed(1.2):.3g}" in next(line for line in lines if "ντ = 5" in line)
