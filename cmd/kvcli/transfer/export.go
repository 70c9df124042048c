package transfer

import (
	"io"
	"iter"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kvd-db/kvd/cmd/kvcli/literal"
	"github.com/kvd-db/kvd/cmd/kvcli/output"
	"github.com/kvd-db/kvd/cmd/kvcli/store"
	"github.com/kvd-db/kvd/kv"
)

// ExportLines writes pairs as lines of JSON that Lines can read.
func ExportLines(w io.Writer, pairs iter.Seq2[store.Pair, error]) (Summary, error) {
	list := output.NewList(w, output.JSONLines)
	s, err := export(pairs, func(p store.Pair) error {
		return list.Row(output.Record{{Name: "key", Value: output.Bytes(p.Key)}, {Name: "value", Value: output.Bytes(p.Value)}})
	})
	if closeErr := list.Close(); err == nil {
		err = closeErr
	}
	return s, err
}

// ExportTree writes pairs as files below a directory, each at the path that its key names.
// A key that is no plain relative path is an error. Existing files are overwritten.
func ExportTree(root string, pairs iter.Seq2[store.Pair, error]) (Summary, error) {
	return export(pairs, func(p store.Pair) error {
		name := string(p.Key)
		if !isPlainPath(name) {
			return kv.Errorf(kv.Invalid, "key %s is no path below a directory: export it with --jsonl", literal.Format(p.Key))
		}
		file := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
			return err
		}
		return os.WriteFile(file, p.Value, 0o666)
	})
}

// isPlainPath reports whether a key names a file below a root, and no other key the same.
func isPlainPath(name string) bool {
	return utf8.ValidString(name) && path.Clean(name) == name && name != "." && !strings.ContainsRune(name, 0) &&
		filepath.IsLocal(filepath.FromSlash(name))
}

func export(pairs iter.Seq2[store.Pair, error], write func(store.Pair) error) (Summary, error) {
	var s Summary
	began := time.Now()
	for p, err := range pairs {
		if err == nil {
			err = write(p)
		}
		if err != nil {
			s.Elapsed = time.Since(began)
			return s, err
		}
		s.Keys++
		s.Bytes += int64(len(p.Value))
	}
	s.Elapsed = time.Since(began)
	return s, nil
}
