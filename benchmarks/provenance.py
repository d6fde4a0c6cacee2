"""What produced a committed result: a hash of the sources it ran, and the machine in words."""

import hashlib
import json
import os
import platform
import re
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"


def source_hash(*folders: str) -> str:
    """SHA-256 over the names and texts of every Python file of `folders`, in order."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def environment() -> dict:
    """Versions, device and processor count."""
    import jax

    device = jax.devices()[0]
    return {
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in ("excidiff", "jax", "jaxlib", "numpy")},
        "device": f"{device.platform}: {device.device_kind}",
        "processors": os.cpu_count(),
        "x64": bool(jax.config.jax_enable_x64),  # pyright: ignore[reportAttributeAccessIssue]
    }


def write_json(path: Path, content: dict) -> None:
    """Write `content` at once or not at all; a list of numbers is one line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    text = json.dumps(content, indent=1)
    text = re.sub(r"\[[^\[\]{}\"]*\]", lambda found: re.sub(r"\s+", " ", found[0]), text)
    partial.write_text(text + "\n")
    partial.replace(path)
