package transfer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"

	"github.com/kvd-db/kvd/cmd/kvcli/output"
	"github.com/kvd-db/kvd/kv"
)

// Item is one key on its way into the store.
type Item struct {
	Key   []byte
	Bytes int64                  // length of the value as far as it is known before Read
	Read  func() ([]byte, error) // its value; may be called once
	// Skip says why the item is left out; "" for one that is not.
	Skip string
}

// Tree is all files below a directory, in lexical order. Keys are prefix and path.
func Tree(root string, prefix []byte) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() {
				return nil
			}
			item, err := fileItem(root, path, d, prefix)
			if err != nil {
				return err
			}
			if !yield(item, nil) {
				return fs.SkipAll
			}
			return nil
		})
		if err != nil {
			yield(Item{}, err)
		}
	}
}

func fileItem(root, path string, d fs.DirEntry, prefix []byte) (Item, error) {
	rel, err := filepath.Rel(root, path)
	if err != nil {
		return Item{}, err
	}
	info, err := d.Info()
	if err != nil {
		return Item{}, err
	}
	it := Item{Key: append(bytes.Clone(prefix), filepath.ToSlash(rel)...), Bytes: info.Size()}
	it.Read = func() ([]byte, error) { return readFile(path) }
	switch {
	case !d.Type().IsRegular():
		it.Skip = "it is no regular file"
	case len(it.Key) > kv.KeyBytesMax:
		it.Skip = fmt.Sprintf("its key has %d bytes, the limit is %d", len(it.Key), kv.KeyBytesMax)
	case info.Size() > kv.ValueBytesMax:
		it.Skip = fmt.Sprintf("it has %d bytes, the limit of a value is %d", info.Size(), kv.ValueBytesMax)
	}
	return it, nil
}

// readFile reads a file that may have grown since it was found.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, kv.ValueBytesMax+1))
	if err == nil && len(b) > kv.ValueBytesMax {
		err = kv.LimitError("the length of "+path, kv.ValueBytesMax, int64(len(b)), "store it in parts under several keys")
	}
	return b, err
}

// LineBytesMax is the longest line of JSON: a value of the greatest length, each of its
// bytes escaped in six.
const LineBytesMax = 6*(kv.ValueBytesMax+kv.KeyBytesMax) + 1024

// line is one line of JSON.
type line struct {
	Key   *output.Bytes `json:"key"`
	Value *output.Bytes `json:"value"`
}

// Lines is pairs in lines of JSON: {"key": ..., "value": ...}, bytes as package output
// writes them. Other fields are ignored, so that what scan and export print can be read.
func Lines(r io.Reader, prefix []byte) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		in := bufio.NewReaderSize(r, 64<<10)
		for n := 1; ; n++ {
			text, err := readLine(in)
			if err == io.EOF {
				return
			}
			var item Item
			if err == nil {
				item, err = parseLine(text, prefix)
			}
			if err != nil {
				yield(Item{}, kv.Errorf(kv.Invalid, "line %d: %v", n, err))
				return
			}
			if item.Key != nil && !yield(item, nil) {
				return
			}
		}
	}
}

// parseLine reads a line; an empty one is an Item without a key.
func parseLine(text, prefix []byte) (Item, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return Item{}, nil
	}
	var l line
	if err := json.Unmarshal(text, &l); err != nil {
		return Item{}, fmt.Errorf(`%w; a line is {"key": ..., "value": ...}`, err)
	}
	if l.Key == nil || l.Value == nil {
		return Item{}, errors.New(`a line must have both "key" and "value"`)
	}
	it := Item{Key: append(bytes.Clone(prefix), *l.Key...), Bytes: int64(len(*l.Value))}
	it.Read = func() ([]byte, error) { return *l.Value, nil }
	switch {
	case len(it.Key) > kv.KeyBytesMax:
		it.Skip = fmt.Sprintf("its key has %d bytes, the limit is %d", len(it.Key), kv.KeyBytesMax)
	case it.Bytes > kv.ValueBytesMax:
		it.Skip = fmt.Sprintf("it has %d bytes, the limit of a value is %d", it.Bytes, kv.ValueBytesMax)
	}
	return it, nil
}

// readLine reads to the next newline or the end; io.EOF only if nothing is left.
func readLine(in *bufio.Reader) ([]byte, error) {
	var whole []byte
	for {
		part, err := in.ReadSlice('\n')
		if len(whole)+len(part) > LineBytesMax {
			return nil, fmt.Errorf("it is longer than %d bytes", LineBytesMax)
		}
		whole = append(whole, part...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err == io.EOF && len(whole) > 0:
			return whole, nil
		}
		return whole, err
	}
}
