"""Fetch Debian's Prometheus into `.tools/prometheus`, without installing or starting anything.

A Prometheus already on the PATH, or fetched before, is used as it is. `apt-get download` needs no rights;
only where the package lists are empty does `apt-get update` need them.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TOOLS = Path(__file__).resolve().parent.parent / ".tools"


def main() -> int:
    """Leave executables `prometheus` and `promtool` in `.tools/prometheus`; exit status 0 when there."""
    folder = TOOLS / "prometheus"
    if all((folder / name).exists() for name in ("prometheus", "promtool")):
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    on_path = {name: shutil.which(name) for name in ("prometheus", "promtool")}
    if all(on_path.values()):
        for name, path in on_path.items():
            (folder / name).symlink_to(str(path))
        return 0
    if shutil.which("apt-get") is None:
        print("No prometheus on the PATH and no apt-get to fetch it with: install Prometheus 2.42 or newer.")
        return 1
    with tempfile.TemporaryDirectory() as scratch:
        download = ["apt-get", "download", "-qq", "prometheus"]
        # `apt-get download` drops to the user _apt, who must be able to write here.
        Path(scratch).chmod(0o777)
        if subprocess.run(download, cwd=scratch, capture_output=True, check=False).returncode != 0:
            subprocess.run(["apt-get", "update", "-qq"], check=False)
            subprocess.run(download, cwd=scratch, check=True)
        package = next(Path(scratch).glob("prometheus_*.deb"))
        unpacked = Path(scratch) / "unpacked"
        subprocess.run(["dpkg-deb", "-x", str(package), str(unpacked)], check=True)
        for name in ("prometheus", "promtool"):
            shutil.copy2(unpacked / "usr/bin" / name, folder / name)
    print(f"Prometheus is in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
