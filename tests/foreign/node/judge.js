// A foreign judge: sigstore's verifier looks at inclusion proofs that Suanli's Python made.
// Reads a JSON array of {index, size, entry, root, proof} (bytes in base64), prints an array of true and false.
'use strict';
const { createRequire } = require('node:module');
const path = require('node:path');
const installed = createRequire(path.join(process.argv[2], 'judge.js'));
const verifier = path.dirname(installed.resolve('@sigstore/verify/package.json'));
const { verifyMerkleInclusion } = installed(path.join(verifier, 'dist', 'tlog', 'merkle.js'));

const bytes = (text) => Buffer.from(text, 'base64');
const judge = (item) => {
  try {
    verifyMerkleInclusion(
      {
        canonicalizedBody: bytes(item.entry),
        inclusionProof: { logIndex: String(item.index), hashes: item.proof.map(bytes) },
      },
      { logSize: BigInt(item.size), logHash: bytes(item.root) },
    );
    return true;
  } catch (error) {
    if (error.code !== 'TLOG_INCLUSION_PROOF_ERROR') throw error;
    return false;
  }
};
let text = '';
process.stdin.on('data', (part) => { text += part; });
process.stdin.on('end', () => process.stdout.write(JSON.stringify(JSON.parse(text).map(judge))));
