"""When the pulse came on a decay's axis, as its own counts tell, and over which bins its light is wanted, then."""

import numpy as np

from excidiff.inverse.files.decays import Decay, Histogram, Response
from excidiff.inverse.fit.response import above_dark
from excidiff.inverse.fit.splines import Splined
from excidiff.inverse.fit.start import FWHM


def rise(curve: Histogram) -> float:
    """When the light is half of its most, for the first time, ns."""
    y = curve.counts - float(np.quantile(curve.counts, 0.02))
    return float(curve.time[int(np.argmax(y > 0.5 * y.max()))])


def arrival(decay: Decay) -> float:
    """When the pulse came on the decay's axis, ns: where the light rises; with a measured response, after that does."""
    return rise(decay) - (rise(decay.irf) if isinstance(decay.irf, Response) else 0.0)


def response_width(decay: Decay) -> float:
    """The FWHM of a decay's response, ns, 0 for none."""
    if not isinstance(decay.irf, Response):
        return float(decay.irf or 0.0)
    y = above_dark(decay.irf.counts)[0]
    return decay.irf.width * float(np.count_nonzero(y > 0.5 * y.max()))


def shifts(decay: Decay) -> tuple[float, float]:
    """Between which times its pulse is looked for, ns."""
    reach, middle = 3 * (response_width(decay) + decay.width), arrival(decay)
    return middle - reach, middle + reach


def lit_edges(decay: Decay, one: Splined | None) -> tuple[float, ...]:
    """Edges of the bins of a decay's light; of a laser that repeats all that its own bins may see some of."""
    if decay.period is None or decay.irf is None:
        return light_edges(decay)
    width, (early, late) = decay.width, shifts(decay)
    ends = (-6 * response_sigma(decay), 6 * response_sigma(decay))
    if one is not None:
        ends = (one.spline.first * width, (one.spline.first + one.spline.count + 2) * width)
    first = int(np.floor((decay.edges[0] - late - ends[1]) / width))
    last = int(np.ceil((decay.edges[-1] - early - ends[0]) / width))
    return tuple((width * np.arange(first, last + 1)).tolist())


def response_sigma(decay: Decay | None) -> float:
    """The standard deviation of a Gaussian response, ns, 0 for none."""
    return 0.0 if decay is None or isinstance(decay.irf, Response) else float(decay.irf or 0.0) / FWHM


def light_edges(decay: Decay) -> tuple[float, ...]:
    """Bins of a decay's light, ns after the pulse: its own, or with a response as many from the pulse on."""
    own = decay.edges if decay.irf is None else decay.width * np.arange(decay.time.size + 1)
    return tuple(float(edge) for edge in np.maximum(np.round(own, 12), 0.0))
