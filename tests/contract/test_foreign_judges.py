"""Programs of other authors in other languages look at what our log writes, and agree.

Go's `sumdb/tlog` and `sumdb/note` judge checkpoints, tiles and both kinds of proofs; sigstore's verifier judges
inclusion. They run where `go` and `npm` are, and must run under CI=true.
"""

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from suanli.evidence import merkle, tiles
from suanli.evidence.bundle import CHECKPOINT
from suanli.evidence.keys import NOTE_ED25519, verifier_key
from tests.builders.bundles import leaves_source, write_bundle_folder
from tests.builders.evidence import ORIGIN, T0, Operator

FOREIGN = Path(__file__).resolve().parents[1] / "foreign"
KEPT = Path(__file__).resolve().parents[2] / ".tools" / "foreign"
BUILD_S = 110
SIZES = (1, 2, 3, 7, 8, 128, 255, 256, 257, 300)


def _need(program):
    if shutil.which(program) is None:
        reason = f"{program} is not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


def _run(command, folder, text=None):
    done = subprocess.run(
        command, cwd=folder, input=text, capture_output=True, text=True, timeout=BUILD_S, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def go(tmp_path_factory):
    """Asks Go: a question in, an answer out."""
    _need("go")
    program = tmp_path_factory.mktemp("go") / "judge"
    _run(["go", "build", "-trimpath", "-o", str(program), "."], FOREIGN / "go")
    return lambda question: json.loads(_run([str(program), "check"], FOREIGN, json.dumps(question)))


@pytest.fixture(scope="module")
def sigstore():
    """Asks sigstore about inclusion proofs; installed once, by its lock file."""
    _need("npm")
    lock = (FOREIGN / "node" / "package-lock.json").read_text("utf-8")
    installed = KEPT / "node"
    if not (installed / "done").exists() or (installed / "done").read_text("utf-8") != lock:
        installed.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(FOREIGN / "node" / name, installed)
        _run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], installed)
        (installed / "done").write_text(lock, "utf-8")
    command = ["node", str(FOREIGN / "node" / "judge.js"), str(installed)]
    return lambda proofs: json.loads(_run(command, FOREIGN, json.dumps(proofs)))


@pytest.fixture(scope="module")
def operator():
    """A log of 300 entries: a full tile, a partial one, and one above them."""
    operator = Operator()
    while len(operator.log) < SIZES[-1]:
        operator.allocation("granted", f"al-{len(operator.log)}", T0)
    return operator


def _text(data):
    return base64.b64encode(data).decode("ascii")


def _inclusion(leaves, index, size):
    node = leaves_source(leaves[:size])
    proof = merkle.inclusion_proof(index, size, node)
    return {
        "index": index,
        "size": size,
        "leaf": _text(leaves[index]),
        "root": _text(merkle.root(leaves[:size])),
        "proof": [_text(step) for step in proof],
    }


def _consistency(leaves, old_size, new_size):
    proof = merkle.consistency_proof(old_size, new_size, leaves_source(leaves[:new_size]))
    return {
        "old_size": old_size,
        "new_size": new_size,
        "old_root": _text(merkle.root(leaves[:old_size])),
        "new_root": _text(merkle.root(leaves[:new_size])),
        "proof": [_text(step) for step in proof],
    }


def _places():
    return [(index, size) for size in SIZES for index in sorted({0, size // 2, size - 1})]


def _pairs():
    return [(old, new) for new in SIZES for old in SIZES if old <= new]


def _question(operator, folder=None, **changes):
    leaves = operator.leaves()
    return {
        "vkey": str(verifier_key(ORIGIN, NOTE_ED25519, operator.log_key.public_key)),
        "checkpoint": operator.checkpoint().decode("utf-8"),
        "folder": "" if folder is None else str(folder),
        "inclusion": [_inclusion(leaves, index, size) for index, size in _places()],
        "consistency": [_consistency(leaves, old, new) for old, new in _pairs()],
        **changes,
    }


def test_go_opens_our_checkpoint_and_reads_our_tiles(go, operator, tmp_path):
    write_bundle_folder(tmp_path, operator.log_files())
    answer = go(_question(operator, tmp_path))
    assert answer["note"] == ""
    assert answer["tiles"] == ""
    assert answer["size"] == SIZES[-1]
    assert answer["root"] == _text(operator.head().root)
    assert answer["leaves"] == [_text(leaf) for leaf in operator.leaves()]


def test_go_accepts_our_proofs(go, operator):
    answer = go(_question(operator))
    assert answer["inclusion"] == [True] * len(_places())
    assert answer["consistency"] == [True] * len(_pairs())


def _spoil(proof):
    first = bytearray(base64.b64decode(proof[0]))
    first[0] ^= 1
    return [_text(bytes(first)), *proof[1:]]


def test_go_and_we_refuse_the_same_spoiled_proofs(go, operator):
    question = _question(operator)
    for item in (*question["inclusion"], *question["consistency"]):
        if item["proof"]:
            item["proof"] = _spoil(item["proof"])
    answer = go(question)
    decode = base64.b64decode
    assert answer["inclusion"] == [
        merkle.verify_inclusion(
            i["index"], i["size"], decode(i["leaf"]), [decode(s) for s in i["proof"]], decode(i["root"])
        )
        for i in question["inclusion"]
    ]
    assert answer["consistency"] == [
        merkle.verify_consistency(
            c["old_size"],
            c["new_size"],
            decode(c["old_root"]),
            decode(c["new_root"]),
            [decode(s) for s in c["proof"]],
        )
        for c in question["consistency"]
    ]
    assert answer["inclusion"].count(False) > 20


def test_go_refuses_a_changed_tile_and_a_false_checkpoint(go, operator, tmp_path):
    files = operator.log_files()
    path = tiles.tile_path(0, 0)
    files[path] = files[path][:-1] + bytes([files[path][-1] ^ 1])
    write_bundle_folder(tmp_path, files)
    assert go(_question(operator, tmp_path))["tiles"] != ""
    forged = files[CHECKPOINT].decode("utf-8").replace(f"\n{SIZES[-1]}\n", "\n299\n")
    assert go(_question(operator, checkpoint=forged))["note"] != ""


def test_sigstore_accepts_our_inclusion_proofs_and_no_spoiled_ones(sigstore, operator):
    leaves = operator.leaves()
    proofs = []
    for index, size in _places():
        proof = _inclusion(leaves, index, size)
        proof["entry"] = _text(operator.log[index].sealed.entry)
        proofs.append(proof)
    assert sigstore(proofs) == [True] * len(proofs)
    spoiled = [{**proof, "proof": _spoil(proof["proof"])} for proof in proofs if proof["proof"]]
    assert sigstore(spoiled) == [False] * len(spoiled)
