package bench

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestHTML(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.html")
	var res *Result
	synctest.Test(t, func(t *testing.T) {
		o := Options{Workload: "ycsb-b", Keys: 50, Workers: 2, Duration: 8 * time.Second, Rate: 500}
		o.Observe.Command = []string{"kvcli", "<script>alert(1)</script>"}
		res = mustRun(t, newTestTarget(time.Millisecond), o)
	})
	res.Warnings = append(res.Warnings, "a <b>warning</b>")
	for name, r := range map[string]*Result{"a run": res, "nothing at all": {}} {
		if err := r.WriteHTML(path); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		page := string(b)
		for _, bad := range []string{"NaN", "Inf", "<script", "<b>warning", "http:", "https:"} {
			if strings.Contains(page, bad) {
				t.Errorf("%s: the page holds %q", name, bad)
			}
		}
		if !strings.HasSuffix(strings.TrimSpace(page), "</html>") {
			t.Errorf("%s: the page is cut off", name)
		}
	}
	if err := res.WriteHTML(path); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if page := string(b); strings.Count(page, "<svg") != 3 || strings.Count(page, "<polyline") != 5 || !strings.Contains(page, "&lt;script&gt;") {
		t.Errorf("%d charts with %d lines, want 3 with 5", strings.Count(page, "<svg"), strings.Count(page, "<polyline"))
	}
}
