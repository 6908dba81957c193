"""Tell Prometheus where the processes of a `suanli up` serve their metrics.

`python deploy/prometheus/targets.py DATA_FOLDER [TARGET]` reads the announcements in DATA_FOLDER/run (start
`up` with --metrics-port) and writes `targets/up.json` beside this file, or TARGET. Safe to run again at any
time; Prometheus reads the file when it changes.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

DEFAULT = Path(__file__).resolve().parent / "targets" / "up.json"


def announced(run_folder: Path) -> dict[str, str]:
    """Process -> URL of its metrics, of every process that announced one."""
    found = {}
    for path in sorted(run_folder.glob("*.json")):
        said = json.loads(path.read_text(encoding="utf-8"))
        if "metrics" in said:
            found[path.stem] = said["metrics"]
    return found


def write_targets(urls: Mapping[str, str], target: Path, process: str | None = None) -> None:
    """Write a target file for Prometheus: one group a process, labelled with its name (or with `process`)."""
    groups = [
        {"targets": [urlsplit(url).netloc], "labels": {"process": process or name}}
        for name, url in urls.items()
    ]
    target.parent.mkdir(parents=True, exist_ok=True)
    # Written beside and renamed: Prometheus never reads half a file.
    beside = target.with_suffix(".writing")
    beside.write_text(json.dumps(groups, indent=2) + "\n", encoding="utf-8")
    beside.replace(target)


def main(arguments: list[str]) -> int:
    """Write the file; exit status 1 where nothing is announced."""
    if not 1 <= len(arguments) <= 2:
        print(__doc__)
        return 1
    urls = announced(Path(arguments[0]) / "run")
    if not urls:
        print(f"no process announces metrics in {arguments[0]}/run: is `up` running, with --metrics-port?")
        return 1
    target = Path(arguments[1]) if len(arguments) == 2 else DEFAULT
    write_targets(urls, target)
    print(f"{len(urls)} processes in {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
