"""What others published of the decays that `measured` fits: numbers, and the rates they belong to.

GaAs: Grossmann et al., physica status solidi b 2023, 10.1002/pssb.202200339; their rates and the optimum of their
search are in github.com/MaxGrossmann/TRPL (MIT), Code/trpl_opt_real.jl and Optimizations/Real/sample1/Run5.
"""

import jax
import jax.numpy as jnp
import numpy as np

PUBLISHED = {
    "source": "Grossmann et al., pss b 2023, 10.1002/pssb.202200339, and github.com/MaxGrossmann/TRPL",
    "capture_time_ns": [6.847, 0.022],
    "trap_density_per_cm3": [1.908e14, 0.117e14],
    "second_trap_density_per_cm3": [8.78e14, 0.46e14],
    "mono_exponential_ns": [6.06, 0.0265],
    "effective_lifetime_ns": [6.30, 0.01],
}
OPTIMUM = {  # the best of the runs that the authors' repository holds, Optimizations/Real/sample1/Run5
    "radiative": 261.6759200430528, "nonradiative": 400.1228438503372, "capture_2": 192.86027982282639,
    "capture_1": 6.967144316037431, "release_1": 179499.7093149948, "emptying_1": 999.9999999998729,
    "ratio_1": 259.8119082027229, "ratio_2": 55.618877392998535, "saturation": 21.820475379569324,
    "light": 10510.592330569287,
}  # fmt: skip
OPTIMUM_DENSITIES = (1.0120816520052631e-4, 1.0009917047976696e-3, 1.1219660733189715e-2, 9.920936842020842e-2,
                     0.7704002123252728)  # fmt: skip


def published_light(times: np.ndarray, parts: int = 40) -> np.ndarray:
    """Light ∝ η (1 + η) of each power under the published rates, at equal times from 0 on, (5, T), by Runge and Kutta.

    η, in units of the doping, radiates, is lost to centres that saturate, fills deep traps (2) for good and shallow
    ones (1) that let go again or empty.
    """
    p, step = OPTIMUM, float(times[1] - times[0]) / parts

    def slope(state):
        eta, deep, shallow = state
        caught, taken = (1 - deep) / p["capture_2"] * eta, (1 - shallow) / p["capture_1"] * eta
        freed = shallow / p["release_1"]
        lost = (1 + eta) * eta * (1 / p["radiative"] + 1 / (p["nonradiative"] * (1 + p["saturation"] * eta)))
        return jnp.stack([freed / p["ratio_1"] - caught - taken - lost, caught * p["ratio_2"],
                          taken * p["ratio_1"] - freed - shallow / p["emptying_1"]])  # fmt: skip

    def advance(state, _):
        a = slope(state)
        b = slope(state + step / 2 * a)
        c = slope(state + step / 2 * b)
        d = slope(state + step * c)
        return state + step / 6 * (a + 2 * b + 2 * c + d), None

    def bin_on(state, _):
        return jax.lax.scan(advance, state, length=parts)[0], state[0] * (1 + state[0])

    begin = jnp.zeros((3, len(OPTIMUM_DENSITIES))).at[0].set(jnp.array(OPTIMUM_DENSITIES))
    return np.asarray(jax.jit(lambda s: jax.lax.scan(bin_on, s, length=times.size)[1])(begin)).T
