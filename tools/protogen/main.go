// Command protogen generates the Go code of kvd's .proto files without protoc: it
// compiles the files by itself and hands the descriptors to protoc-gen-go and
// protoc-gen-go-grpc, which go.mod beside it pins, as protoc would.
//
// Usage, from the root of the repository:
//
//	go run -C tools ./protogen        # write the generated files
//	go run -C tools ./protogen -check # exit 1 if a committed file differs
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

// The sources, relative to the root of the repository.
var sources = []string{"proto/kvpb/kvpb.proto", "proto/peerpb/peerpb.proto"}

// The plugins, each a tool of tools/go.mod.
var plugins = []string{"protoc-gen-go", "protoc-gen-go-grpc"}

// Files are written beside their sources.
const parameter = "paths=source_relative"

func main() {
	check := flag.Bool("check", false, "write nothing; fail if a committed file differs")
	root := flag.String("root", "..", "root of the repository")
	flag.Parse()
	if err := run(context.Background(), *root, *check); err != nil {
		fmt.Fprintln(os.Stderr, "protogen:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, root string, check bool) error {
	request, err := compile(ctx, root)
	if err != nil {
		return err
	}
	for _, p := range plugins {
		files, err := generate(ctx, p, request)
		if err != nil {
			return err
		}
		for _, f := range files {
			if err := put(filepath.Join(root, f.GetName()), f.GetContent(), check); err != nil {
				return err
			}
		}
	}
	return nil
}

// compile turns the sources into the request that protoc would send to a plugin.
func compile(ctx context.Context, root string) ([]byte, error) {
	c := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{root}}),
		SourceInfoMode: protocompile.SourceInfoStandard, // comments reach the generated code
	}
	compiled, err := c.Compile(ctx, sources...)
	if err != nil {
		return nil, err
	}
	var all []*descriptorpb.FileDescriptorProto
	for _, f := range compiled {
		for i := range f.Imports().Len() {
			dep := protoutil.ProtoFromFileDescriptor(f.Imports().Get(i).FileDescriptor)
			if !slices.ContainsFunc(all, func(d *descriptorpb.FileDescriptorProto) bool { return d.GetName() == dep.GetName() }) {
				all = append(all, dep)
			}
		}
		all = append(all, protoutil.ProtoFromFileDescriptor(f))
	}
	return proto.Marshal(&pluginpb.CodeGeneratorRequest{
		FileToGenerate: sources,
		Parameter:      proto.String(parameter),
		ProtoFile:      all,
	})
}

func generate(ctx context.Context, plugin string, request []byte) ([]*pluginpb.CodeGeneratorResponse_File, error) {
	cmd := exec.CommandContext(ctx, "go", "tool", plugin)
	cmd.Stdin = bytes.NewReader(request)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", plugin, err)
	}
	var answer pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(out, &answer); err != nil {
		return nil, fmt.Errorf("%s: its answer: %w", plugin, err)
	}
	if answer.Error != nil {
		return nil, fmt.Errorf("%s: %s", plugin, answer.GetError())
	}
	return answer.File, nil
}

func put(path, content string, check bool) error {
	if !check {
		return os.WriteFile(path, []byte(content), 0o644)
	}
	have, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if string(have) != content {
		return fmt.Errorf("%s differs from what its source gives: run 'go run -C tools ./protogen'", path)
	}
	return nil
}
