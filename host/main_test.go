package host

import (
	"flag"
	"io"
	"os"
)

var verbose = flag.Bool("hostlog", false, "show what the hosts log")

func logOutput() io.Writer {
	if *verbose {
		return os.Stderr
	}
	return io.Discard
}
