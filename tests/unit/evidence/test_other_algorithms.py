"""A further signature algorithm (type 0xff), given by another package: found by entry point, asked for by policy."""

import os
import subprocess
import sys

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey, Ed448PublicKey

from suanli.evidence.cosignature import Cosigner, cosign, cosignature_time_s
from suanli.evidence.errors import EvidenceError
from suanli.evidence.keys import NOTE_OTHER, parse_verifier_key, register_algorithm, verifier_key
from suanli.evidence.policy import Policy, PolicyGroup, PolicyWitness, format_policy
from suanli.evidence.proof_file import make_proof
from suanli.evidence.signed_note import parse_note, with_signatures
from tests.builders.bundles import write_bundle_folder
from tests.builders.evidence import ORIGIN, T0, honest_operator

# Ed448 stands for what a package would bring, such as SM2 with SM3: an algorithm that the verifier has not.
PLUGIN = """
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey

class Ed448:
    identifier = "example.com/ed448"
    def check_key(self, public_key):
        Ed448PublicKey.from_public_bytes(public_key)
    def verify(self, public_key, message, signature):
        try:
            Ed448PublicKey.from_public_bytes(public_key).verify(signature, message)
        except InvalidSignature:
            return False
        return True

algorithm = Ed448()
"""


class Ed448:
    """The same within this process."""

    identifier = "example.com/ed448"

    def check_key(self, public_key):
        Ed448PublicKey.from_public_bytes(public_key)

    def verify(self, public_key, message, signature):
        try:
            Ed448PublicKey.from_public_bytes(public_key).verify(signature, message)
        except InvalidSignature:
            return False
        return True


@pytest.fixture(scope="module")
def second():
    register_algorithm(KNOWN)
    key = Ed448PrivateKey.generate()
    material = KNOWN.identifier.encode() + b"\n" + key.public_key().public_bytes_raw()
    return Cosigner(verifier_key(f"{ORIGIN}/second", NOTE_OTHER, material), key.sign)


KNOWN = Ed448()


def _signed(operator, second):
    note = parse_note(operator.checkpoint())
    return with_signatures(note, [cosign(note.text, second, T0 // 1000 + 4 * 3600)]).encode()


def test_a_line_of_another_algorithm_is_checked_and_a_changed_one_sinks_the_note(second):
    note = parse_note(_signed(honest_operator(1), second))
    assert cosignature_time_s(note, second.key) == T0 // 1000 + 4 * 3600
    assert parse_verifier_key(str(second.key)) == second.key
    line = note.signatures_of(second.key)[0]
    for place in (0, 8, 60):
        changed = bytearray(line.signature)
        changed[place] ^= 1
        other = type(line)(line.name, line.key_hash, bytes(changed))
        with pytest.raises(EvidenceError, match="false line"):
            cosignature_time_s(with_signatures(note, [other]), second.key)


def test_an_algorithm_that_is_not_installed_and_a_name_taken_twice_are_refused(second):
    with pytest.raises(EvidenceError, match="one of: example"):
        verifier_key("x", NOTE_OTHER, b"example.com/sm2\n" + bytes(64))
    with pytest.raises(EvidenceError, match="ed448"):
        verifier_key("x", NOTE_OTHER, b"example.com/ed448\n" + bytes(3))
    with pytest.raises(EvidenceError, match="no other algorithm"):
        register_algorithm(Ed448())
    register_algorithm(KNOWN)


def test_the_verifier_finds_the_package_and_a_policy_asks_for_its_signature(second, tmp_path):
    package = tmp_path / "packages"
    (package / "second-1.0.dist-info").mkdir(parents=True)
    (package / "second.py").write_text(PLUGIN, "utf-8")
    (package / "second-1.0.dist-info" / "METADATA").write_text("Name: second\nVersion: 1.0\n", "utf-8")
    points = package / "second-1.0.dist-info" / "entry_points.txt"
    points.write_text("[suanli.note_algorithms]\ned448 = second:algorithm\n", "utf-8")
    operator = honest_operator()
    base = operator.policy()
    witnesses = (*base.witnesses, PolicyWitness("second", second.key))
    policy = Policy(base.logs, witnesses, (PolicyGroup("both", 2, ("w", "second")),), "both")
    (tmp_path / "policy").write_text(format_policy(policy), "utf-8")
    for name, checkpoint in (("good", _signed(operator, second)), ("bare", operator.checkpoint())):
        write_bundle_folder(tmp_path / name, operator.bundle(checkpoint=checkpoint))

    def run(name, code, path=str(package), command="verify"):
        done = subprocess.run(
            [sys.executable, "-m", "suanli.cli", *command.split(), name, "--policy", "policy", "--json"],
            cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == code, (done.stdout, done.stderr)
        return done.stdout

    assert '"verified": true' in run("good", 0)
    assert "checkpoint.quorum" in run("bare", 1)
    assert "vkey.algorithm" in run("good", 2, path="")
    tiles = operator.log_files(_signed(operator, second))
    proof = make_proof(3, _signed(operator, second), tiles.__getitem__)
    (tmp_path / "3.tlog-proof").write_bytes(proof.encode())
    assert '"proved": true' in run("3.tlog-proof", 0, command="proof check")
    run("3.tlog-proof", 2, path="", command="proof check")
