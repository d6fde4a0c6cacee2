"""The excitons of a scan, which tests of maps are made with, held to theory."""

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from benchmarks.scanned import scan_film
from excidiff.solver.source import FWHM


def test_a_uniform_film_gives_what_theory_says():
    """With κ = 1/τ + k a share 1/κτ shines, its age is 1/κ, and a confocal detector sees
    ∫ e⁻ᵘ σ_c²/(σ_c² + σ² + 2L²u) du of it, L² = D/κ: 4.5 standard errors of 25 positions together, and χ² over them.
    """
    excitons, tau, k, d, laser, collection = 8e3, 5.0, 0.3, 0.05, 0.3, 0.4
    found = scan_film(lambda x, y: np.full_like(x, k), fastest=0.5, seed=5, shape=(5, 5), excitons=excitons,
                      diffusivity=d, lifetime=tau, laser_fwhm=laser, collection_fwhm=collection)  # fmt: skip
    loss = 1 / tau + k
    u, weight = np.polynomial.laguerre.laggauss(60)
    caught = (collection / FWHM) ** 2
    share = (weight * caught / (caught + (laser / FWHM) ** 2 + 2 * d / loss * u)).sum()
    for scan, expected in (
        (found.intensity, excitons / (tau * loss)),
        (found.confocal, excitons * share / (tau * loss)),
    ):
        off = (scan.values - expected) / np.sqrt(expected)
        assert abs(off.sum()) < 4.5 * 5
        assert 6 < (off**2).sum() < 61  # χ² of 25: 1e-4 on either side
    off = (found.lifetime.values - 1 / loss) / found.lifetime.uncertainty
    assert abs(off.sum()) < 4.5 * 5
    assert 6 < (off**2).sum() < 61
    np.testing.assert_allclose(found.lifetime.uncertainty, 1 / loss / np.sqrt(found.lifetime.photons), rtol=0.1)


def test_a_film_with_a_patch_gives_what_the_equation_says():
    """A bump of losses under 9 positions of 2e4 excitons, of which each number has errors of 0.7 to 2 %: 4.5 of them.

    (κ − D∇²) n = light of the laser, solved directly: photons Σ n/τ, those of a confocal detector Σ w n/τ, mean age
    1ᵀA⁻²s/1ᵀA⁻¹s. Its own error is a third of one of theirs: cells of 50 nm, (h/L)²/12 = 0.3 % of what changes; walls
    2.6 µm, 5 L, from the outermost spot.
    """
    excitons, tau, d, laser, collection = 2e4, 5.0, 0.05, 0.3, 0.4

    def rate(x, y):
        return 0.6 * np.exp(-(x**2 + (y - 0.2) ** 2) / 0.18)

    found = scan_film(rate, fastest=0.6, seed=6, shape=(3, 3), step=0.6, excitons=excitons, diffusivity=d,
                      lifetime=tau, laser_fwhm=laser, collection_fwhm=collection)  # fmt: skip
    count, size = 128, 0.05
    along = (np.arange(count) - (count - 1) / 2) * size
    x, y = (grid.ravel() for grid in np.meshgrid(along, along))
    side = sparse.diags_array([-np.ones(count - 1), np.r_[1, np.full(count - 2, 2), 1], -np.ones(count - 1)],
                              offsets=(-1, 0, 1))  # fmt: skip
    same = sparse.eye_array(count)
    motion = d / size**2 * (sparse.kron(side, same) + sparse.kron(same, side))
    solve = splu((motion + sparse.diags_array(1 / tau + rate(x, y))).tocsc()).solve
    off = np.stack([(x - px) ** 2 + (y - py) ** 2 for px, py in found.intensity.positions], 1)
    spots = np.exp(-off / (2 * (laser / FWHM) ** 2))
    density = solve(spots / spots.sum(0))
    light, age = density.sum(0), solve(density).sum(0) / density.sum(0)
    near = (np.exp(-off / (2 * (collection / FWHM) ** 2)) * density).sum(0)
    assert light.min() < 0.65 * light.max()
    for scan, expected in ((found.intensity, excitons / tau * light), (found.confocal, excitons / tau * near)):
        assert np.abs((scan.values.ravel() - expected) / np.sqrt(expected)).max() < 4.5
    assert np.abs((found.lifetime.values.ravel() - age) / found.lifetime.uncertainty.ravel()).max() < 4.5
