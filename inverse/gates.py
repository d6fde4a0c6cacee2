"""What a movie shows gate by gate: its light, and how wide the spot is, measured and by the model, to look at.

The model's mean square width along one axis is the second moment of what it expects, less the background,

    w² = Σ (µ − b) r²/(2 Σ (µ − b)),     of the light through a slit Σ (µ − b) x²/Σ (µ − b)

and what the counts y say of it is the first order around that: by how much w² of a Gaussian g of this width had to
change for the residuals y − µ, weighed by their variance, with its brightness and an even background left free,

    δw² = dᵀV⁻¹(y − µ)/dᵀV⁻¹d,     d = ∂g/∂w² less its parts along g and a constant;     error (dᵀV⁻¹d)^{−1/2}

Both are as imaged, blur and pixels included. No number of a fit comes from them.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float64

from excidiff.inverse.files.data import Image

NAMES = ("start", "end", "light", "light_error", "model_light", "width2", "width2_error", "model_width2")


def gate_series(
    images: Sequence[Image],
    gates: Float64[np.ndarray, "F 2"],
    counts: Float64[np.ndarray, "F ny nx"],
    expected: Float64[np.ndarray, "F ny nx"],
    variance: Float64[np.ndarray, "F ny nx"],
    used: Bool[np.ndarray, "F ny nx"],
    *,
    background: float,
    centre: tuple[float, float],
) -> dict[str, Float64[np.ndarray, " F"]]:
    """Of every gate (ns) the photons beyond the background, and w² in µm², as in `NAMES`; NaN where no light is.

    `background` per pixel of each frame; `centre` (x, y) of the spot from the image's centre, µm.
    """
    (ny, nx), (size_y, size_x) = images[0].shape, images[0].spacing
    x = (np.arange(nx) - (nx - 1) / 2) * size_x - centre[0]
    y = (np.arange(ny) - (ny - 1) / 2) * size_y - centre[1]
    # what has the mean w²; a Gaussian is e^{−axes · square/2w²}
    axes, square = (1, x[None, :] ** 2) if ny == 1 else (2, (x[None, :] ** 2 + y[:, None] ** 2) / 2)
    found = {name: np.full(len(images), np.nan) for name in NAMES}
    found["start"], found["end"] = np.asarray(gates, float).T
    for k, image in enumerate(images):
        ground = background * (np.ones((ny, nx)) if image.flat is None else image.flat)
        seen, bright = used[k], expected[k] - ground
        away, law = counts[k] - expected[k], variance[k]
        found["model_light"][k] = bright[seen].sum()
        found["light"][k] = found["model_light"][k] + away[seen].sum()
        found["light_error"][k] = np.sqrt(law[seen].sum())
        if not bright.sum() > 0:
            continue
        width2 = found["model_width2"][k] = float((bright * square).sum() / bright.sum())
        bell = np.exp(-axes * square / (2 * width2))[seen]
        even, slope = np.ones(bell.size), bell * square[seen]
        weight = 1 / np.maximum(law[seen], 1e-300)
        basis = np.stack([bell, even])
        inner = (basis * weight) @ basis.T
        slope = slope - np.linalg.lstsq(inner, (basis * weight) @ slope, rcond=1e-12)[0] @ basis
        # ∂(A g)/∂w² is axes · A g square/2w⁴ and a part along g; A: with which the model has this light
        slope *= axes / 2 * bright[seen].sum() / max(float(bell.sum()), 1e-300) / width2**2
        told = float((weight * slope**2).sum())
        if told > 0:
            found["width2"][k] = width2 + float((weight * slope * away[seen]).sum()) / told
            found["width2_error"][k] = told**-0.5
    return found
