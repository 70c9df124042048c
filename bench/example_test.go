package bench_test

import (
	"context"
	"fmt"
	"time"

	"github.com/kvd-db/kvd/bench"
)

func ExampleRun() {
	res, err := bench.Run(context.Background(), bench.NewMemory(), bench.Options{
		Workload: "ycsb-a", Keys: 100, Workers: 2, Duration: 50 * time.Millisecond, Warmup: -1,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(res.Verdict, res.Violations, len(res.Operations))
	// Output: OK 0 2
}

func ExampleRatio() {
	o := bench.Options{Workload: "get", Keys: 100, Workers: 2, Duration: 50 * time.Millisecond, Warmup: -1}
	standings, err := bench.Ratio(context.Background(), bench.RatioOptions{Rounds: 2},
		bench.Contender{Name: "A", Target: bench.NewMemory(), Options: o},
		bench.Contender{Name: "B", Target: bench.NewMemory(), Options: o},
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, s := range standings {
		fmt.Println(s.Name, s.Rounds, s.Metrics[0].Metric)
	}
	// Output:
	// A 2 ops/s
	// B 2 ops/s
}
