"""A map that images of many spots, or a scan, gave: values with errors, resolution and dose, and what to think of it.

The radius of a patch is read off from the area in which the rate exceeds that of the film around by more than half of
what it does in the patch: r = √(area/π). The film around is the median of the map, the patch's height the median of
that area; both are found together, from the highest cell down.
"""

from dataclasses import dataclass, field, fields
from math import pi, sqrt
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from excidiff.inverse.results.result import Estimate

BAD_FIT = 4.0
"""Standard deviations of the deviance from its expectation beyond which the map is not to be trusted."""
STANDS_OUT = 3.0
"""Errors by which a patch must exceed the film around it."""
LIT = 0.1
"""Of the largest dose: where a map is told of."""
EXACT = {
    "trapping_rate": "D, τ",
    "lifetime": "D",
    "trap_density": "D, τ, the capture",
    "diffusivity": "τ",
    "landscape": "D, τ, the temperature",
}
"""What is taken as exact beside the optics."""
CHECKED = {
    "images": "the photons per spot, the optics, D and τ",
    "intensity scan": "the photons per position, the optics, D and τ",
    "lifetime scan": "the uncertainties, the optics, D and τ",
    "energy scan": "the uncertainties, the optics, D and τ",
}
PATCHY = ("trapping_rate", "trap_density")


class Patch(NamedTuple):
    """Where the value stands out: centre (µm), radius (µm) and what it has above the film around, in the map's unit."""

    x: float
    y: float
    radius: float
    extra: float


@dataclass(frozen=True, eq=False)
class FilmMap:
    """A map on square cells of `pitch` (µm), row = y, column = x, and what it rests on.

    `value`, `error` (one standard deviation), `lower`, `upper` (95 % band) are in `unit`, NaN where `determined` is
    False; `resolution` (µm FWHM); `dose` relative to its maximum. `x`, `y`: centres of the cells in µm from that of the
    images. `source`: "images", or "intensity", "lifetime" or "energy scan"; `measured`, `modelled` and `noise`, one
    standard deviation, are photoelectrons of all images, or the scan's photons, lifetimes (ns) or energies (meV).
    `freedom`: degrees of freedom that the map has taken. `away`: the value assumed beyond the map. `verdicts` say in
    words what to think of it.
    """

    kind: str
    unit: str
    x: Float[np.ndarray, " cx"]
    y: Float[np.ndarray, " cy"]
    pitch: float
    value: Float[np.ndarray, "cy cx"]
    error: Float[np.ndarray, "cy cx"]
    lower: Float[np.ndarray, "cy cx"]
    upper: Float[np.ndarray, "cy cx"]
    resolution: Float[np.ndarray, "cy cx"]
    dose: Float[np.ndarray, "cy cx"]
    determined: Bool[np.ndarray, "cy cx"]
    prior: str
    strength: float
    slope: float
    freedom: float
    away: float
    background: Estimate
    goodness: dict[str, float]
    positions: Float[np.ndarray, "P 2"]
    source: str
    measured: Float[np.ndarray, "py px"]
    modelled: Float[np.ndarray, "py px"]
    noise: Float[np.ndarray, "py px"]
    pixel_size: tuple[float, float]
    verdicts: tuple[str, ...] = field(default=(), kw_only=True)

    def as_json(self) -> dict[str, Any]:
        """The same as lists and numbers, undetermined ones None."""
        return {entry.name: _plain(getattr(self, entry.name)) for entry in fields(self)}

    @property
    def patchy(self) -> bool:
        """Whether places that stand out are looked for: of what is lost, not of how excitons move."""
        return self.kind in PATCHY

    def patches(self) -> list[Patch]:
        """Where the value is higher than in the film around it, from the highest on; the header says how it is read."""
        if not self.patchy:
            return []
        left = self.determined & (self.dose >= LIT)
        if not left.any():
            return []
        around = float(np.median(self.value[left]))
        found: list[Patch] = []
        while left.any():
            peak = np.unravel_index(int(np.argmax(np.where(left, self.value, -np.inf))), left.shape)
            extra = float(self.value[peak]) - around
            if extra < STANDS_OUT * self.error[peak]:
                break
            for _ in range(5):
                area = connected(left & (self.value > around + extra / 2), peak)
                extra = float(np.median(self.value[area])) - around
            rows, columns = np.nonzero(area)
            place = float(self.x[columns].mean()), float(self.y[rows].mean())
            found.append(Patch(*place, self.pitch * sqrt(len(rows) / pi), extra))
            left &= ~connected(left & (self.value > around + self.error), peak)
            left[peak] = False
        return found

    def __repr__(self) -> str:
        return f"{self.kind} map, {len(self.y)} × {len(self.x)} cells of {self.pitch:g} µm\n" + "\n".join(self.verdicts)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [_plain(part) for part in value] if value.ndim else _plain(value.item())
    if isinstance(value, Estimate):
        return {name: _plain(getattr(value, name)) for name in ("value", "stderr", "interval95", "unit")}
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value


def connected(inside: Bool[np.ndarray, "cy cx"], start: Any) -> Bool[np.ndarray, "cy cx"]:
    """The cells of `inside` that can be reached from `start` over their sides."""
    reached = np.zeros_like(inside)
    reached[start] = True
    while True:
        wide = np.pad(reached, 1)
        grown = reached | (inside & (wide[:-2, 1:-1] | wide[2:, 1:-1] | wide[1:-1, :-2] | wide[1:-1, 2:]))
        if (grown == reached).all():
            return reached
        reached = grown


def told(
    found: FilmMap, *, coarse: float | None, chosen: bool, settled: bool, limit: float | None = None
) -> tuple[str, ...]:
    """What to think of a map.

    coarse: of the laser's σ, how wide cells may be, if they are wider. chosen: by the data, of the prior. settled:
    whether the search for the map came to its end. limit: that of an even film at 95 %, where nothing is determined.
    """
    name, unit = found.kind.replace("_", " "), found.unit
    lit = found.dose >= LIT
    known = lit & found.determined
    said = []
    z, ratio = found.goodness["z"], found.goodness["deviance_ratio"]
    if abs(z) > BAD_FIT:
        said.append(
            f"the map does not explain the {found.source}: the deviance is {ratio:.3f} times what noise gives "
            f"(z = {z:.1f}); check {CHECKED[found.source]}"
        )
    if not settled:
        said.append("the search for the likeliest map did not settle: what is shown lies on the way; check the numbers "
                    "that are taken as known")  # fmt: skip
    if not known.any():
        if limit is None:
            return (*said, f"the {name} is undetermined everywhere: it is next to nothing, or more photons are needed")
        side = "above" if found.kind == "lifetime" else "below"
        return (
            *said,
            f"the {name} is undetermined place by place: next to nothing is lost beyond the film's own lifetime, or "
            f"more photons are needed; if it is the same everywhere it is {side} {limit:.2g} {unit} (95 %)",
        )
    low, middle, high = np.percentile(found.value[known], [2.5, 50, 97.5])
    said.append(
        f"{name}: median {middle:.3g} {unit}, from {low:.3g} to {high:.3g} (95 % of the cells), typical error "
        f"{np.median(found.error[known]):.2g}, averaged over {np.median(found.resolution[known]):.2g} µm"
    )
    if found.kind == "landscape":
        said.append("energies count from their mean over where excitons were: light tells differences only")
    for patch in found.patches()[:5]:
        said.append(
            f"a patch of {patch.extra:.3g} {unit} more at ({patch.x:.2f}, {patch.y:.2f}) µm, radius "
            f"{patch.radius:.2f} µm (area above half)"
        )
    blind = int(np.count_nonzero(~found.determined))
    if blind:
        said.append(
            f"undetermined in {blind} of {found.determined.size} cells, {np.count_nonzero(lit & ~found.determined)} of "
            f"them lit by more than {LIT:.0%} of the largest dose: too few excitons get there, or next to nothing "
            "happens"
        )
    strength = f"λ = {found.strength:.3g}" + (f"/µm, s = {found.slope:.3g}/µm" if found.slope else "")
    said.append(
        f"prior: {found.prior}, {strength}, {'chosen by the data (least predicted misfit)' if chosen else 'as given'}; "
        f"the map took {found.freedom:.0f} degrees of freedom"
    )
    far = "flat, without a force across the map's edge," if found.kind == "landscape" else f"at {found.away:.3g} {unit}"
    said.append(f"beyond the map the film is taken to go on {far}; {EXACT[found.kind]} and the optics as exact")
    if coarse is not None:
        said.append(
            f"cells of {found.pitch:.2g} µm are wider than {coarse:g} of the laser's σ: fine features are rounded off"
        )
    return tuple(said)
