package literal_test

import (
	"fmt"

	"github.com/kvd-db/kvd/cmd/kvcli/literal"
)

func ExampleFormat() {
	for _, b := range []string{"user:17", "two words", "\x00\x01\x02", "caf\xe9 noir"} {
		fmt.Println(literal.Format([]byte(b)))
	}
	// Output:
	// user:17
	// "two words"
	// 0x000102
	// "caf\xe9 noir"
}

func ExampleParse() {
	for _, word := range []string{"bare", `"a\tb"`, "0x6b76", "b64:a3Y="} {
		b, err := literal.Parse(word)
		fmt.Printf("%q %v\n", b, err)
	}
	// Output:
	// "bare" <nil>
	// "a\tb" <nil>
	// "kv" <nil>
	// "kv" <nil>
}
