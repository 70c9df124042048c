package mvcc

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kvd-db/kvd/kv"
)

// FormatVersion is the version of everything in docs/format.md that this binary writes. It reads
// no other.
const FormatVersion = 2

// The format file stands beside Pebble's files, so that it can be read before Pebble, whose
// own format may be newer too, is opened: [magic, 8][version, 4][CRC32C of both, 4].
const (
	formatFileName  = "KVD-FORMAT"
	formatMagic     = "kvdmvcc\n"
	formatFileBytes = len(formatMagic) + 4 + 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func encodeFormat(version uint32) []byte {
	b := append(make([]byte, 0, formatFileBytes), formatMagic...)
	b = binary.BigEndian.AppendUint32(b, version)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func decodeFormat(b []byte) (uint32, error) {
	n := formatFileBytes - 4
	if len(b) != formatFileBytes || string(b[:len(formatMagic)]) != formatMagic ||
		crc32.Checksum(b[:n], castagnoli) != binary.BigEndian.Uint32(b[n:]) {
		return 0, kv.Errorf(kv.Corruption, "the file %s of %d bytes is damaged: restore it from a node of the same version, or replace this store", formatFileName, len(b))
	}
	return binary.BigEndian.Uint32(b[len(formatMagic):]), nil
}

// checkFormat refuses a store of another format version, and marks an empty directory.
func checkFormat(fs vfs.FS, dir string) error {
	path := fs.PathJoin(dir, formatFileName)
	b, err := readFile(fs, path)
	if errors.Is(err, os.ErrNotExist) {
		return createFormat(fs, dir, path)
	}
	if err != nil {
		return wrapError("reading "+path, err)
	}
	v, err := decodeFormat(b)
	if err != nil {
		return err
	}
	switch {
	case v > FormatVersion:
		return kv.Errorf(kv.Denied, "the store %s has format version %d, this binary knows versions up to %d: start the newer binary that wrote it", dir, v, FormatVersion)
	case v < FormatVersion:
		return kv.Errorf(kv.Invalid, "the store %s has format version %d, this binary needs version %d and cannot convert it: export the data with the binary that wrote it, and import that", dir, v, FormatVersion)
	}
	return nil
}

// createFormat marks a directory in which Pebble has not written anything yet.
func createFormat(fs vfs.FS, dir, path string) error {
	names, err := fs.List(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return wrapError("listing "+dir, err)
	}
	tmp := path + ".tmp"
	for _, name := range names {
		if name != fs.PathBase(tmp) {
			return kv.Errorf(kv.Invalid, "the directory %s holds %s but no %s: it is no store of kvd; use an empty directory", dir, name, formatFileName)
		}
	}
	if err := fs.MkdirAll(dir, 0o755); err != nil {
		return wrapError("creating "+dir, err)
	}
	if err := syncDir(fs, fs.PathDir(dir)); err != nil {
		return wrapError("syncing the parent of "+dir, err)
	}
	if err := writeFileSync(fs, tmp, encodeFormat(FormatVersion)); err != nil {
		return wrapError("writing "+tmp, err)
	}
	if err := fs.Rename(tmp, path); err != nil {
		return wrapError("renaming "+tmp, err)
	}
	return wrapError("syncing "+dir, syncDir(fs, dir))
}

func readFile(fs vfs.FS, path string) ([]byte, error) {
	f, err := fs.Open(path)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(f)
	return b, errors.Join(err, f.Close())
}

func writeFileSync(fs vfs.FS, path string, b []byte) error {
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func syncDir(fs vfs.FS, dir string) error {
	if dir == "" {
		dir = "."
	}
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
