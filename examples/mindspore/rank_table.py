"""Writes an Ascend rank table (version 1.0) of one node for the devices of this task.

    python3 rank_table.py FILE

The devices come from SUANLI_DEVICES. Their addresses come from /etc/hccn.conf (`address_3=192.168.1.13`), where
the host has one; collectives inside one node need none.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def addresses(file: Path) -> dict[str, str]:
    """Device index -> address, as hccn.conf says."""
    if not file.is_file():
        return {}
    lines = (line.strip() for line in file.read_text(encoding="utf-8").splitlines())
    pairs = (line.split("=", 1) for line in lines if line.startswith("address_") and "=" in line)
    return {name.removeprefix("address_"): value for name, value in pairs}


def rank_table(devices: list[str], server: str, known: dict[str, str]) -> dict[str, object]:
    """One server; ranks in the order of the devices."""
    listed = []
    for rank, device in enumerate(devices):
        entry = {"device_id": device, "rank_id": str(rank)}
        if device in known:
            entry["device_ip"] = known[device]
        listed.append(entry)
    return {
        "version": "1.0",
        "server_count": "1",
        "server_list": [{"server_id": server, "device": listed}],
        "status": "completed",
    }


if __name__ == "__main__":
    table = rank_table(
        os.environ["SUANLI_DEVICES"].split(","),
        os.environ.get("MASTER_ADDR", "127.0.0.1"),
        addresses(Path("/etc/hccn.conf")),
    )
    Path(sys.argv[1]).write_text(json.dumps(table, indent=1), encoding="utf-8")
