package readme

import (
	"slices"
	"testing"
)

func TestScript(t *testing.T) {
	document := "Text with `code`.\n```sh\nmake build\nbin/kvd start --data /tmp/a \\\n  --listen 127.0.0.1:7401 &\n\n" +
		"# only a comment\nexport A=127.0.0.1:7401,localhost:7402 # and why\nbin/kvcli get 'a#b' # prints hello, world\n```\n" +
		"```go\nnot.Shell()\n```\n```sh\nmake\nls\n```\n"
	want := []Line{
		{Command: "bin/kvd start --data /tmp/a --listen 127.0.0.1:7401", Background: true},
		{Command: "export A=127.0.0.1:7401,localhost:7402"},
		{Command: "bin/kvcli get 'a#b'", Prints: "hello, world"},
		{Command: "ls"},
	}
	if got := Script(document); !slices.Equal(got, want) {
		t.Errorf("got %+v", got)
	}
	addresses := Addresses(document)
	if !slices.Equal(addresses, []string{"127.0.0.1:7401", "localhost:7402"}) {
		t.Errorf("addresses %q", addresses)
	}
	moved := Script(Moved(document, map[string]string{"127.0.0.1:7401": "x:1", "localhost:7402": "x:2"}, "/else"))
	if moved[0].Command != "bin/kvd start --data /else/a --listen x:1" || moved[1].Command != "export A=x:1,x:2" {
		t.Errorf("moved: %+v", moved)
	}
}

func TestLink(t *testing.T) {
	document := "[a](docs/a.md), [b](../b.md#part), ![c](c.png) and [d](#here), [e](https://example.com/e.md#part), f(x)"
	var files []string
	for _, m := range link.FindAllStringSubmatch(document, -1) {
		files = append(files, m[1])
	}
	if want := []string{"docs/a.md", "../b.md", "c.png"}; !slices.Equal(files, want) {
		t.Errorf("links to %q, want %q", files, want)
	}
}
