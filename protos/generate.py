"""Generate the Python code of the wire beside its definitions: `python protos/generate.py [TARGET]`.

The definitions import each other as `suanli/fleet/v1/...` (which is what their package name asks for);
the Python package `suanli` is another thing, so the generated imports are moved below `protos`.
"""

import re
import sys
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent


def generate(target: Path) -> list[Path]:
    """Write `*_pb2.py`, `*_pb2.pyi`, `*_pb2_grpc.py` of every definition below `target`; returns the files.

    Raises RuntimeError where a definition does not compile.
    """
    sources = sorted(str(p.relative_to(ROOT)) for p in (ROOT / "suanli").rglob("*.proto"))
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    arguments = ["protoc", f"-I{ROOT}", f"-I{well_known}", f"--python_out={target}", f"--pyi_out={target}"]
    if protoc.main([*arguments, f"--grpc_python_out={target}", *sources]) != 0:
        raise RuntimeError("protoc refused a definition; its message stands above")
    written = sorted(p for p in (target / "suanli").rglob("*_pb2*.py*") if p.suffix in {".py", ".pyi"})
    for path in written:
        text = path.read_text(encoding="utf-8")
        path.write_text(re.sub(r"^from suanli\.", "from protos.suanli.", text, flags=re.M), encoding="utf-8")
    return written


if __name__ == "__main__":
    for path in generate(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT):
        print(path)
