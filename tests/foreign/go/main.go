// A foreign judge: Go's golang.org/x/mod/sumdb/{tlog,note} looks at what Suanli's Python wrote, and writes
// vectors for Suanli's Python to read.
//
//	judge check < case.json    verdicts, one JSON object; exit status 0 whatever they are
//	judge vectors              the file tests/golden/evidence/go_vectors.json
package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

type inclusion struct {
	Index int64    `json:"index"`
	Size  int64    `json:"size"`
	Leaf  []byte   `json:"leaf"`
	Root  []byte   `json:"root"`
	Proof [][]byte `json:"proof"`
}

type consistency struct {
	OldSize int64    `json:"old_size"`
	NewSize int64    `json:"new_size"`
	OldRoot []byte   `json:"old_root"`
	NewRoot []byte   `json:"new_root"`
	Proof   [][]byte `json:"proof"`
}

type question struct {
	Key         string        `json:"vkey"`
	Checkpoint  string        `json:"checkpoint"`
	Folder      string        `json:"folder"`
	Inclusion   []inclusion   `json:"inclusion"`
	Consistency []consistency `json:"consistency"`
}

type answer struct {
	Size        int64    `json:"size"`
	Root        []byte   `json:"root"`
	Note        string   `json:"note"`
	Tiles       string   `json:"tiles"`
	Leaves      [][]byte `json:"leaves"`
	Inclusion   []bool   `json:"inclusion"`
	Consistency []bool   `json:"consistency"`
}

func hashOf(data []byte) (h tlog.Hash) {
	copy(h[:], data)
	return h
}

func hashes(proof [][]byte) []tlog.Hash {
	list := make([]tlog.Hash, len(proof))
	for i, step := range proof {
		list[i] = hashOf(step)
	}
	return list
}

// folder reads tiles at C2SP's paths; Go's own begin with the height.
type folder string

func (f folder) Height() int { return height }

func (f folder) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range tiles {
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		data, err := os.ReadFile(filepath.Join(string(f), path))
		if err != nil {
			return nil, err
		}
		found = append(found, data)
	}
	return found, nil
}

func (f folder) SaveTiles([]tlog.Tile, [][]byte) {}

func entries(root string, size int64) ([][]byte, error) {
	var found [][]byte
	for first := int64(0); first < size; first += 256 {
		tile := tlog.Tile{H: height, L: -1, N: first / 256, W: 256}
		if size-first < 256 {
			tile.W = int(size - first)
		}
		path := strings.Replace(tile.Path(), "tile/8/data/", "tile/entries/", 1)
		data, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			return nil, err
		}
		for len(data) > 0 {
			length := int(binary.BigEndian.Uint16(data))
			found = append(found, data[2:2+length])
			data = data[2+length:]
		}
	}
	return found, nil
}

func check(q question) answer {
	var a answer
	verifier, err := note.NewVerifier(q.Key)
	if err != nil {
		a.Note = err.Error()
		return a
	}
	opened, err := note.Open([]byte(q.Checkpoint), note.VerifierList(verifier))
	if err != nil {
		a.Note = err.Error()
		return a
	}
	lines := strings.Split(opened.Text, "\n")
	fmt.Sscanf(lines[1], "%d", &a.Size)
	a.Root, _ = base64.StdEncoding.DecodeString(lines[2])
	tree := tlog.Tree{N: a.Size, Hash: hashOf(a.Root)}
	if q.Folder != "" {
		a.Tiles = checkTiles(q.Folder, tree, &a)
	}
	for _, c := range q.Inclusion {
		err := tlog.CheckRecord(hashes(c.Proof), c.Size, hashOf(c.Root), c.Index, hashOf(c.Leaf))
		a.Inclusion = append(a.Inclusion, err == nil)
	}
	for _, c := range q.Consistency {
		err := tlog.CheckTree(hashes(c.Proof), c.NewSize, hashOf(c.NewRoot), c.OldSize, hashOf(c.OldRoot))
		a.Consistency = append(a.Consistency, err == nil)
	}
	return a
}

func checkTiles(root string, tree tlog.Tree, a *answer) string {
	raw, err := entries(root, tree.N)
	if err != nil {
		return err.Error()
	}
	reader := tlog.TileHashReader(tree, folder(root))
	for index, data := range raw {
		// The reader authenticates each tile it uses against the root of the tree.
		found, err := reader.ReadHashes([]int64{tlog.StoredHashIndex(0, int64(index))})
		if err != nil {
			return err.Error()
		}
		if found[0] != tlog.RecordHash(data) {
			return fmt.Sprintf("entry %d has another hash", index)
		}
		leaf := tlog.RecordHash(data)
		a.Leaves = append(a.Leaves, leaf[:])
	}
	return ""
}

type memory []tlog.Hash

func (m memory) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	found := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		found[i] = m[index]
	}
	return found, nil
}

func bytesOf(list []tlog.Hash) [][]byte {
	found := make([][]byte, len(list))
	for i := range list {
		found[i] = append([]byte(nil), list[i][:]...)
	}
	return found
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func vectors() map[string]any {
	const size = 300
	var stored memory
	var roots [][]byte
	root := func(n int64) []byte {
		if n == 0 {
			// RFC 6962, section 2.1; this version of tlog says zeros.
			empty := sha256.Sum256(nil)
			return empty[:]
		}
		h, err := tlog.TreeHash(n, stored)
		must(err)
		return append([]byte(nil), h[:]...)
	}
	roots = append(roots, root(0))
	for i := int64(0); i < size; i++ {
		more, err := tlog.StoredHashes(i, []byte(fmt.Sprintf("leaf %d", i)), stored)
		must(err)
		stored = append(stored, more...)
		roots = append(roots, root(i+1))
	}
	inclusions := []inclusion{}
	for _, n := range []int64{1, 2, 3, 7, 8, 200, 255, 256, 257, 300} {
		for _, i := range []int64{0, 1, 2, 5, 127, 199, 254, 255, 256, 299} {
			if i >= n {
				continue
			}
			proof, err := tlog.ProveRecord(n, i, stored)
			must(err)
			leaf := tlog.RecordHash([]byte(fmt.Sprintf("leaf %d", i)))
			inclusions = append(inclusions, inclusion{i, n, leaf[:], root(n), bytesOf(proof)})
		}
	}
	consistencies := []consistency{}
	for _, pair := range [][2]int64{{1, 1}, {1, 2}, {3, 7}, {4, 8}, {6, 200}, {128, 256}, {255, 257}, {256, 300}, {299, 300}} {
		proof, err := tlog.ProveTree(pair[1], pair[0], stored)
		must(err)
		consistencies = append(consistencies, consistency{pair[0], pair[1], root(pair[0]), root(pair[1]), bytesOf(proof)})
	}
	tiles := map[string][]byte{}
	for _, tile := range tlog.NewTiles(height, 0, size) {
		data, err := tlog.ReadTileData(tile, stored)
		must(err)
		tiles[strings.Replace(tile.Path(), "tile/8/", "tile/", 1)] = data
	}
	// A key from a fixed seed, so that the file is the same each time it is made.
	private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
	public := private.Public().(ed25519.PublicKey)
	vkey, err := note.NewEd25519VerifierKey("go.example/log", public)
	must(err)
	skey := "PRIVATE+KEY+go.example/log+" + vkey[len("go.example/log+"):len("go.example/log+")+8] + "+" +
		base64.StdEncoding.EncodeToString(append([]byte{1}, private.Seed()...))
	signer, err := note.NewSigner(skey)
	must(err)
	notes := []string{}
	for _, n := range []int64{0, 1, 256, 300} {
		text := fmt.Sprintf("go.example/log\n%d\n%s\n", n, base64.StdEncoding.EncodeToString(root(n)))
		signed, err := note.Sign(&note.Note{Text: text}, signer)
		must(err)
		notes = append(notes, string(signed))
	}
	return map[string]any{
		"made_by":     "golang.org/x/mod v0.17.0 sumdb/tlog and sumdb/note, by tests/foreign/go",
		"roots":       roots,
		"inclusion":   inclusions,
		"consistency": consistencies,
		"tiles":       tiles,
		"vkey":        vkey,
		"notes":       notes,
	}
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: judge check|vectors")
		os.Exit(2)
	}
	out := json.NewEncoder(os.Stdout)
	switch os.Args[1] {
	case "check":
		var q question
		must(json.NewDecoder(os.Stdin).Decode(&q))
		must(out.Encode(check(q)))
	case "vectors":
		out.SetIndent("", " ")
		must(out.Encode(vectors()))
	default:
		os.Exit(2)
	}
}
