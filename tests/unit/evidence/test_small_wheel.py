"""What a firm or an auditor installs stands alone, on any system."""

import subprocess
import sys

_PROBE = """
import importlib, pkgutil, sys
for blocked in ("fcntl", "pwd", "grp", "resource", "termios"):
    sys.modules[blocked] = None
import suanli
for name in ("suanli.evidence", "suanli.rating", "suanli.witness"):
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        importlib.import_module(module.name)
for name in ("suanli.cli.verify", "suanli.cli.witness"):
    importlib.import_module(name)
foreign = {"scheduler", "agents", "protos", "migrations", "grpc", "fastapi", "sqlalchemy", "psycopg"}
foreign |= {"pydantic", "google.protobuf", "uvicorn", "psutil", "structlog"}
print(sorted(m for m in sys.modules if m in foreign or m.split(".")[0] in foreign))
"""


def test_suanli_alone_loads_nothing_of_the_control_plane_and_nothing_posix():
    done = subprocess.run(
        [sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""
    assert done.stdout.strip() == "[]"
