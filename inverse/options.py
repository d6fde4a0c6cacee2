"""The options of a fit: their names and help, of what each is, and which of them go together."""

from typing import Literal, get_args

from excidiff.inverse.files.fluences import NOUNS
from excidiff.inverse.rastertable import read_about, written_about
from excidiff.inverse.settings import DATA, FitSettings, data_file
from excidiff.solver.solution import InputError

QUANTITIES = {
    "laser_fwhm": "fwhm",
    "psf_fwhm": "fwhm",
    "laser_wavelength": "wavelength",
    "emission_wavelength": "wavelength",
    "lifetime": "lifetime",
    "temperature": "temperature",
    "collection_fwhm": "fwhm",
    "magnification_error": "dimensionless",
}
Model = Literal[
    "free", "mixture", "relaxation", "reabsorption", "landscape", "annihilation", "traps", "saturable traps"
]
MODELS: tuple[str, ...] = get_args(Model)
OF_INSTRUMENT = ("irf", "irf_fwhm", "period", "aperture_fwhm", "decay_column", "time_unit", "skip", "curve", "bands")
INTERVALS = ("fisher", "profile", "bootstrap", "nuts")
OF_DRAWS = ("interval", "draws", "seed")
OF_DECAYS = ("decay", *OF_INSTRUMENT, *OF_DRAWS, "uncertainty", "start", "model", "components", "device")
IN_TIME = {"irf_fwhm": "response", "period": "period", "frame_time": "time"}  # options of decays and frames
TIMELESS = (".tif", ".tiff", ".npy", ".npz", ".csv", ".txt")  # files that have no axis of time
OF_MAPS = ("step", "wavelengths", "places", "line", "absorption")
OF_SCANS = ("slit", "uncertainty")  # of spectral maps and streaks
OF_SERIES = ("exposure", "scale")
OPTICS = ("laser", "laser_fwhm", "psf", "psf_fwhm", "laser_wavelength", "emission_wavelength", "lifetime", "decay",
          "model", "fix", "bound", "start", "prior", "device", "decay_column", "time_unit", "skip", "curve",
          "irf_fwhm")  # fmt: skip
OF_POWERS = (*DATA, *(f"{role}_density" for role in DATA.values()), "raster_about", "irf", "period", *OF_SERIES,
             *OF_DRAWS)  # fmt: skip
OF_MOVIES = ("frame_time", "pulse_time", "slit", "uncertainty")
SPECTRA_OF_POWERS = ("collection_fwhm", "line", "step", "slit", "wavelengths", "places", "uncertainty")
OF_SPECTRA = ("spectral_map", "collection_fwhm", "line", "absorption", "step", "slit", "wavelengths", "places",
              "uncertainty", "temperature", "irf", "period", "interval", "draws", "seed")  # fmt: skip
BESIDE = ("images", "noise", "background", "tie", "magnification_error", "frames", "frame_time",
          "pulse_time")  # fmt: skip
"""What is said beside a spectral map."""
OF_CAMERA = ("pixel_size", "gain", "offset", "read_noise", "excess_noise", "dark", "flat", "mask", "region",
             "saturation")  # fmt: skip
WITH_ERROR = ("laser_fwhm", "psf_fwhm", "collection_fwhm", "lifetime")  # whose errors are carried on
FIXABLE = {
    "diffusion_length": "diffusion_length",
    "diffusivity": "diffusivity",
    "lifetime": "lifetime",
    "centre_x": "length",
    "centre_y": "length",
    "amplitude": "dimensionless",
    "background": "dimensionless",
    "annihilation": "capture",
    "trapping_rate": "rate",
    "trap_density": "density",
    "capture": "capture",
    "release": "rate",
    "trap_lifetime": "lifetime",
    "disorder": "energy",
    "linewidth": "energy",
    "lorentzian": "energy",
    "outcoupling": "absorption",
    "guiding_loss": "absorption",
    "band_centre": "energy",
    "trap_band_centre": "energy",
    "trap_band_width": "energy",
    "trap_band_share": "dimensionless",
}


OPTIONS = {
    "decays and frames": (
        ("irf", "FILE", "the instrument's response, in the form of the decay"),
        ("irf-fwhm", "TIME", 'or its width, if it is Gaussian, such as "50 ps"'),
        ("period", "TIME", 'of the laser, such as "25 ns"; without it pulses are far apart'),
        ("aperture-fwhm", "LENGTH", "of the spot at the sample that the counter sees, if it is not all of the film"),
        ("decay-column", "NAME", "of several columns beside the time, the counts"),
        ("time-unit", "UNIT", "ns, ps, …, of files that do not say"),
        ("skip", "NUMBER", "rows of numbers above the data of a table"),
        ("curve", "NUMBER", "of several below each other in a table, the first being 0"),
        ("bands", "FROM..TO, …", 'of a streak image as --decay: a decay each, such as "500..510 nm, 510..520 nm"'),
        ("frame-time", "TIME", 'from one frame to the next, such as "0.5 ns"; needed if the file has no axis of time'),
        ("pulse-time", "TIME", "when the pulse came on the file's axis of time (default: at its zero)"),
    ),
    "pulses of several powers": (
        ("exposure", "TIME", "after each pulse up to which images integrate (default: to the end)"),
        ("scale", "WHICH", "photons per exciton: shared by all, one per kind of data (default), or free"),
    ),
    "spectra against position": (
        ("collection-fwhm", "LENGTH", "of the spot that the spectrometer sees, at the sample"),
        ("line", "WHICH", "of a site: gaussian (default), or voigt, with wings"),
        ("absorption", "FILE", 'of the film, a table "wavelength_nm,absorption_per_cm", for --model reabsorption'),
        ("step", "LENGTH", "the cell along the scan that a place stands for (default: the places' distance)"),
        ("slit", "LENGTH", "its width across a line (default: as good as none); of a streak that of its slit"),
        ("wavelengths", "FROM..TO", 'the part to use, such as "500..540 nm" or "2.3..2.5 eV"'),
        ("places", "FROM..TO", 'the part to use, such as "-1..1 um"; of a map x and y: "0..2 um, 0..1 um"'),
        ("uncertainty", "WHICH", 'of numbers that are no photons: a number, a file, or "from the data"'),
    ),
    "the laser and the optics": (
        ("laser", "FILE", "image of the laser spot through the same optics"),
        ("laser-fwhm", "LENGTH", 'laser at the sample, such as "300 nm"; "300 ± 5 nm" carries the error on'),
        ("psf-fwhm", "LENGTH", "point-spread function at the emission's colour"),
        ("psf", "FILE", "image of a point at the emission's colour"),
        ("laser-wavelength", "LENGTH", "with the emission's: how much wider the emission is blurred"),
        ("emission-wavelength", "LENGTH", "see --laser-wavelength"),
        ("magnification-error", "PERCENT", 'of the pixel size, common to all images, such as "1 %%"'),
    ),
    "the film": (
        ("lifetime", "TIME", 'such as "5 ns" or "(5.0 ± 0.1) ns"; gives the diffusivity'),
        ("landscape", "FILE", "map of the energy landscape in meV"),
        ("temperature", "TEMPERATURE", 'such as "295 K"'),
    ),
    "the camera": (
        ("pixel-size", "LENGTH", 'at the sample, such as "40 nm"; wins over the file'),
        ("gain", "NUMBER", "counts per photoelectron"),
        ("offset", "COUNTS", "counts without light"),
        ("read-noise", "ELECTRONS", "photoelectrons r.m.s."),
        ("excess-noise", "NUMBER", "variance factor: 2 for an EMCCD, else 1"),
        ("dark", "FILE", "image without light, instead of the offset"),
        ("flat", "FILE", "image of even light: the sensitivity"),
        ("mask", "FILE", "not zero where pixels are to be used"),
        ("region", "X0,X1,Y0,Y1", "part of the image in pixels, ends not included"),
        ("saturation", "COUNTS", "at which a pixel is full; inf: never"),
        ("background", "PHOTONS", 'per pixel if known (default: "fit")'),
    ),
}

OF_PEAKS = (
    ("wavelengths", "FROM..TO", 'the part to use, such as "500..540 nm" or "2.3..2.5 eV"'),
    ("places", "FROM..TO", 'the part to use, such as "-1..1 um"; of a map x and y: "0..2 um, 0..1 um"'),
    ("centre", "PLACE", 'of the spot, such as "1.2 um", of a map "1.2 um, 0.4 um" (default: where the light is)'),
    ("uncertainty", "WHICH", 'a number, a file, or "from the data" (default: of photons theirs, else from the data)'),
)
PEAK_FILES = {
    "peaks.csv": "peak, width and light of every spectrum, with errors",
    "result.nc": "the spectra and these numbers on their axes",
    "figures": "drawn, as PNG and SVG",
}


def check_options(settings: FitSettings) -> None:
    """Refuse what contradicts itself in the words of the options, before any file is read."""
    _check_data(settings)
    seen: dict[str, str] = {}
    scans = iter(settings.raster_about)
    for what, path in settings.paths():
        place = str(data_file(path).resolve()) + str(path).removeprefix(str(data_file(path)))
        if what not in DATA.values():
            continue
        if what == "raster":  # a file may hold several: photons and lifetimes, columns, channels
            place += written_about(dict(sorted({"quantity": "intensity", **read_about(next(scans, "{}"))}.items())))
        if place in seen:
            raise InputError(
                f"{path}: this {NOUNS.get(what, what)} is given twice; a second time it would count as a new "
                "measurement"
            )
        seen[place] = path
    seen_in_space = bool(settings.images or settings.frames or settings.spectral_map or settings.raster)
    if settings.powers or settings.spectral_map:
        _check_useful(settings)
    elif not seen_in_space:
        useless = ["--" + name.replace("_", "-") for name in settings.given() if name not in OF_DECAYS]
        if useless:
            raise InputError(f"{' and '.join(useless)} given, but no image: a decay alone has no use for it")
        return
    if not seen_in_space and settings.laser is None and settings.laser_fwhm is None:
        return  # decays under even light
    if (settings.laser is None) == (settings.laser_fwhm is None):
        both = "not both of them" if settings.laser else "one of them is needed"
        raise InputError(
            "give the laser spot as an image through the same optics, --laser FILE, or by its width at the sample, "
            f'--laser-fwhm "300 nm"; {both}'
        )
    if settings.psf is not None and settings.psf_fwhm is not None:
        raise InputError("give the PSF as an image, --psf FILE, or by its width, --psf-fwhm; not both of them")
    if (settings.laser_wavelength is None) != (settings.emission_wavelength is None):
        raise InputError("give both --laser-wavelength and --emission-wavelength or neither: only their ratio is used")
    if settings.dark is not None and settings.offset is not None:
        raise InputError("give the camera's zero as an image, --dark FILE, or as a number, --offset; not both of them")


def _check_useful(settings: FitSettings) -> None:
    """Refuse options that pulses of several powers, or spectra against position, make no use of."""
    imaged, powers = bool(settings.images or settings.frames), settings.powers
    known = {*OPTICS, *(OF_POWERS if powers else OF_SPECTRA), *(BESIDE if imaged and not powers else ())}
    if powers:
        known |= {"magnification_error"} if imaged else set()
        known |= {*(OF_MOVIES if settings.frames else ()), *(SPECTRA_OF_POWERS if settings.spectral_map else ())}
    if imaged or settings.laser is not None or settings.psf is not None:
        known |= {*OF_CAMERA}
    useless = ["--" + name.replace("_", "-") for name in settings.given() if name not in known]
    if useless:
        what = "pulses of several powers have" if powers else "a spectral map has"
        raise InputError(f"{' and '.join(useless)} given: {what} no use for it; leave it out")


def _check_data(settings: FitSettings) -> None:
    """What is to be fitted, and the options that belong to one kind of data only."""
    if not settings.any_data():
        raise InputError("nothing to fit: give images, --frames FILE, --decay FILE or --spectral-map FILE")
    if settings.raster and not settings.powers:
        raise InputError("--raster without --raster-density: scans of one power are mapped, by excidiff map FILE.toml")
    if len(settings.raster_about) not in (0, len(settings.raster)):
        raise InputError(
            f"{len(settings.raster)} raster scans with {len(settings.raster_about)} --raster-about; give it for each, "
            "{} where nothing is to be said, or for none"
        )
    powers, frames = settings.powers, settings.frames
    given = ["--" + name for name in OF_SERIES if getattr(settings, name) is not None]
    if given and not powers:
        raise InputError(f"{' and '.join(given)} given, but no peak densities, which pulses of several powers have")
    for name, role in DATA.items():
        data, densities = getattr(settings, name), getattr(settings, f"{role}_density")
        words, option = NOUNS.get(role, role), f"--{role.replace('_', '-')}-density"
        if powers and len(data) != len(densities):
            raise InputError(f"{len(data)} {words}s with {len(densities)} peak densities; give {option} for each")
        if not powers and name in ("frames", "spectral_map") and len(data) > 1:
            raise InputError(
                f"--{name.replace('_', '-')} is given {len(data)} times: several are of pulses of several powers, each "
                f"with its {option}; fit others by themselves"
            )
    of_scans = ["--" + name for name in OF_SCANS if getattr(settings, name) is not None]
    if of_scans and not (settings.spectral_map or frames) and (settings.slit or not settings.decay):
        raise InputError(f"{' and '.join(of_scans)} given, but neither --spectral-map FILE nor --frames of a streak")
    of_map = ["--" + name for name in OF_MAPS if getattr(settings, name) is not None]
    if of_map and not settings.spectral_map:
        raise InputError(f"{' and '.join(of_map)} given, but no spectra against position: add --spectral-map FILE")
    if settings.images and frames and not powers:
        raise InputError("give steady images or --frames, time-gated ones; they are fits of their own")
    if settings.frame_time is None and any(path.lower().endswith(TIMELESS) for path in frames):
        raise InputError('--frames FILE and --frame-time "0.5 ns", the time from one frame to the next, go together')
    if not frames and (settings.frame_time is not None or settings.pulse_time is not None):
        raise InputError("--frame-time and --pulse-time are of time-gated images: add --frames FILE")
    own_slit = settings.slit is not None and not settings.spectral_map
    if settings.frame_time is not None and (settings.pulse_time is not None or own_slit):
        raise InputError("--pulse-time and --slit are for frames whose file gives their times; leave --frame-time out")
    if frames and settings.frame_time is not None and settings.uncertainty is not None and not settings.spectral_map:
        raise InputError("--uncertainty is for frames whose file gives their times; leave it or --frame-time out")
    of_decays = [name for name in OF_INSTRUMENT if name != "period" or not powers]
    given = ["--" + name.replace("_", "-") for name in of_decays if getattr(settings, name) is not None]
    if given and not settings.decay:
        raise InputError(f"{' and '.join(given)} given, but no decay: add --decay FILE")
    if settings.irf is not None and settings.irf_fwhm is not None:
        raise InputError("give the instrument's response as a file, --irf, or by its width, --irf-fwhm; not both")
