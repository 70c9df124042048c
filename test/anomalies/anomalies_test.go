package anomalies

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kvd-db/kvd/test/cluster"
)

// TestAnomalies runs all stories, each in a keyspace of its own.
func TestAnomalies(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts processes")
	}
	files, err := filepath.Glob("*.txt")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d stories: %v", len(files), err)
	}
	c := cluster.Start(t, 3)
	c.WaitHealthy(t)
	for _, f := range files {
		t.Run(strings.TrimSuffix(f, ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			s, err := Parse(string(text))
			if err != nil {
				t.Fatal(err)
			}
			play(t, c, s)
		})
	}
}

// play runs both sessions, line by line in the story's order.
func play(t *testing.T, c *cluster.Cluster, s *Story) {
	for _, args := range s.Commands {
		c.MustCLI(t, args...)
	}
	sessions := map[string]*cluster.Session{}
	for name := range s.Exits {
		sessions[name] = c.Session(t, "-o", "raw", "--keep-going", "--keyspace", s.Keyspace)
	}
	for _, l := range s.Lines {
		sessions[l.Session].Say(t, l.Text)
		for _, want := range l.Prints {
			if got := sessions[l.Session].Hear(t); !Matches(want, got) {
				t.Fatalf("%s> %s\nprints %q, and not %q", l.Session, l.Text, got, want)
			}
		}
	}
	for name, want := range s.Exits {
		if r := sessions[name].End(t); r.Code != want || r.Stdout != "" {
			t.Errorf("session %s exits %d, and not %d; it printed besides: %q", name, r.Code, want, r.Stdout)
		}
	}
}

func TestParse(t *testing.T) {
	s, err := Parse("# about\n$ kvcli keyspace create shop\n$ kvcli put a 1\n\nA> get a\n1\nB> get b\n...not found\nA exits 0\nB exits 3\n")
	if err != nil || s.Keyspace != "shop" || len(s.Commands) != 2 || len(s.Lines) != 2 || s.Lines[0].Prints[0] != "1" || s.Exits["B"] != 3 {
		t.Errorf("%+v, %v", s, err)
	}
	for _, bad := range []string{"", "1\n", "$ kvcli put a 1\nA exits 0\nB exits 0\n", "$ kvcli keyspace create shop\nA exits 0\n"} {
		if s, err := Parse(bad); err == nil {
			t.Errorf("%q was taken: %+v", bad, s)
		}
	}
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		want, got string
		good      bool
	}{
		{"10", "10", true},
		{"10", "100", false},
		{"VERSION", "470810797653098496", true},
		{"VERSION", "line 4: no", false},
		{"line 4: key ... was written...", `line 4: key "x" was written at 7`, true},
		{"line 4: key ... was written...", `line 5: key "x" was written at 7`, false},
		{"1.0", "1x0", false},
	} {
		if Matches(c.want, c.got) != c.good {
			t.Errorf("%q, %q", c.want, c.got)
		}
	}
}
