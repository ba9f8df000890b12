package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

const (
	catalog = "catalog.default.svc.cluster.local"
	cart    = "cart.default.svc.cluster.local"
	web     = "web.default.svc.cluster.local"
	rate    = 50  // requests a second on each Service, all the time
	sample  = 400 // requests per measurement of a split
	sigmas  = 5   // a correct split fails once in 3.5 million measurements

	attempts = 8 // measurements of a split, a second apart, before it counts as wrong
)

// play tells the whole story under load and adds up what was sent and lost.
func play(ctx context.Context, l *lab) error {
	title("A shop that runs, without a version label anywhere")
	if err := l.must(ctx, "apply", "-f", "examples/shop/shop.yaml"); err != nil {
		return err
	}
	for _, d := range []string{"web-v1", "catalog-v1", "cart-v1", "stock-v1"} {
		if err := l.must(ctx, "rollout", "status", "deploy/"+d, "--timeout=60s"); err != nil {
			return err
		}
	}
	if err := l.reachable(ctx); err != nil {
		return err
	}
	var loads []*background
	for _, url := range []string{"http://" + catalog + "/", "http://" + cart + "/", "http://" + web + "/", "tcp://stock.default.svc.cluster.local:7000"} {
		b, err := l.load(url, rate)
		if err != nil {
			return err
		}
		loads = append(loads, b)
	}
	var told error
	for _, act := range []func(context.Context, *lab) error{canary, tcpCanary, blueGreen, mirror, wrong, abort} {
		if told = act(ctx, l); told != nil {
			break
		}
	}
	return errors.Join(told, sum(loads))
}

// reachable waits until Envoy has every Service's endpoints: requests before that would fail anyway.
func (l *lab) reachable(ctx context.Context) error {
	deadline := time.Now().Add(30 * time.Second)
	for {
		var all []error
		for _, host := range []string{catalog, cart, web} {
			_, err := l.httpSplit(ctx, host, 5)
			all = append(all, err)
		}
		_, err := l.tcpSplit(ctx, 7000, 2)
		err = errors.Join(append(all, err)...)
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(200 * time.Millisecond) // Envoy has no event to wait for
	}
}

func sum(loads []*background) error {
	title("Requests sent and lost")
	sent, lost := 0, 0
	var failed error
	for _, b := range loads {
		r, err := b.end()
		failed = errors.Join(failed, err)
		sent, lost = sent+r.Sent, lost+r.Lost
	}
	fmt.Printf("  sent %d, lost %d\n", sent, lost)
	if lost > 0 {
		failed = errors.Join(failed, fmt.Errorf("%d of %d requests were lost", lost, sent))
	}
	return failed
}

func canary(ctx context.Context, l *lab) error {
	title("Canary: catalog-v2 from 0 to 10, 50, 100 percent, then promoted")
	if err := l.must(ctx, "apply", "-f", "examples/shop/catalog-v2.yaml"); err != nil {
		return err
	}
	for _, weight := range []int{0, 10, 50, 100} {
		if weight > 0 {
			if err := l.must(ctx, "annotate", "--overwrite", "deploy/catalog-v2", fmt.Sprintf("grayscale.dev/weight=%d", weight)); err != nil {
				return err
			}
		}
		if err := l.programmed(ctx, "catalog-v2", fmt.Sprintf("canary %d%% of catalog", weight)); err != nil {
			return err
		}
		if err := l.checkHTTP(ctx, catalog, map[string]float64{"v1": 1 - float64(weight)/100, "v2": float64(weight) / 100}); err != nil {
			return err
		}
	}
	if err := l.must(ctx, "annotate", "deploy/catalog-v2", "grayscale.dev/strategy-", "grayscale.dev/weight-"); err != nil {
		return err
	}
	if err := l.must(ctx, "delete", "deploy/catalog-v1"); err != nil {
		return err
	}
	if err := l.must(ctx, "wait", "--for=delete", "virtualservice/catalog-grayscale", "destinationrule/catalog-grayscale", "--timeout=60s"); err != nil {
		return err
	}
	return l.checkHTTP(ctx, catalog, map[string]float64{"v2": 1})
}

func tcpCanary(ctx context.Context, l *lab) error {
	title("Canary on TCP: a quarter of stock's connections")
	if err := l.must(ctx, "apply", "-f", "examples/shop/stock-v2.yaml"); err != nil {
		return err
	}
	if err := l.programmed(ctx, "stock-v2", "canary 25% of stock"); err != nil {
		return err
	}
	return l.checkTCP(ctx, 7000, map[string]float64{"v1": 0.75, "v2": 0.25})
}

func blueGreen(ctx context.Context, l *lab) error {
	title("Blue-green: cart, one HTTP and one TCP port, there and back")
	if err := l.must(ctx, "apply", "-f", "examples/shop/cart-v2.yaml"); err != nil {
		return err
	}
	for _, active := range []bool{false, true, false} {
		word, version := "inactive", "v1"
		if active {
			word, version = "active", "v2"
		}
		if err := l.must(ctx, "annotate", "--overwrite", "deploy/cart-v2", fmt.Sprintf("grayscale.dev/active=%t", active)); err != nil {
			return err
		}
		if err := l.programmed(ctx, "cart-v2", "blue-green "+word+" for cart"); err != nil {
			return err
		}
		if err := l.checkHTTP(ctx, cart, map[string]float64{version: 1}); err != nil {
			return err
		}
		if err := l.checkTCP(ctx, 9000, map[string]float64{version: 1}); err != nil {
			return err
		}
	}
	return nil
}

func mirror(ctx context.Context, l *lab) error {
	title("Mirror: copies of web's live requests to web-v2, all of them, then a quarter")
	if err := l.must(ctx, "apply", "-f", "examples/shop/web-v2.yaml"); err != nil {
		return err
	}
	for _, percent := range []int{100, 25} {
		if err := l.must(ctx, "annotate", "--overwrite", "deploy/web-v2", fmt.Sprintf("grayscale.dev/mirror-percent=%d", percent)); err != nil {
			return err
		}
		if err := l.programmed(ctx, "web-v2", fmt.Sprintf("mirror %d%% of web", percent)); err != nil {
			return err
		}
		if err := l.checkMirror(ctx, float64(percent)/100); err != nil {
			return err
		}
	}
	return nil
}

// checkMirror compares the copies that v2's pods saw with the requests that v1's answered at the same time.
func (l *lab) checkMirror(ctx context.Context, share float64) error {
	return check(ctx, "copies", map[string]float64{"v2": share, "not copied": 1 - share}, func() (map[string]int, error) {
		requests, copies, err := l.counts(ctx, "web")
		if err != nil {
			return nil, err
		}
		if _, err := l.httpSplit(ctx, web, sample); err != nil {
			return nil, err
		}
		if err := pause(ctx); err != nil { // copies may arrive after the answers
			return nil, err
		}
		requestsAfter, copiesAfter, err := l.counts(ctx, "web")
		if err != nil {
			return nil, err
		}
		if n := requestsAfter["v2"] - requests["v2"]; n > 0 {
			return nil, fmt.Errorf("mirrored version v2 answered %d production requests", n)
		}
		seen := map[string]int{"v2": copiesAfter["v2"] - copies["v2"]}
		seen["not copied"] = max(requestsAfter["v1"]-requests["v1"]-seen["v2"], 0)
		return seen, nil
	})
}

func wrong(ctx context.Context, l *lab) error {
	title("A wrong annotation is denied with the sentence that tells the fix")
	out, err := l.kubectl(ctx, "annotate", "--overwrite", "deploy/stock-v2", "grayscale.dev/weight=150")
	fmt.Print(indent(out))
	if err == nil {
		return errors.New("weight 150 was accepted")
	}
	if !strings.Contains(out, "grayscale.dev/weight") || !strings.Contains(out, "150") {
		return fmt.Errorf("the error names neither key nor value: %s", out)
	}
	return nil
}

func abort(ctx context.Context, l *lab) error {
	title("Abort: the strategy is removed, all of stock's connections go to v1")
	if err := l.must(ctx, "annotate", "deploy/stock-v2", "grayscale.dev/strategy-", "grayscale.dev/weight-"); err != nil {
		return err
	}
	return l.checkTCP(ctx, 7000, map[string]float64{"v1": 1})
}

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Second):
		return nil
	}
}

func (l *lab) checkHTTP(ctx context.Context, host string, asked map[string]float64) error {
	return check(ctx, "requests", asked, func() (map[string]int, error) { return l.httpSplit(ctx, host, sample) })
}

func (l *lab) checkTCP(ctx context.Context, port int, asked map[string]float64) error {
	return check(ctx, "connections", asked, func() (map[string]int, error) { return l.tcpSplit(ctx, port, sample) })
}

// check measures until the split is as asked for, because the push to Envoy takes a moment on a busy machine. A split
// that stays wrong is printed and fails.
func check(ctx context.Context, what string, asked map[string]float64, count func() (map[string]int, error)) error {
	for attempt := 1; ; attempt++ {
		if err := pause(ctx); err != nil {
			return err
		}
		seen, err := count()
		if err != nil {
			return err
		}
		if wrong := outside(what, seen, asked); wrong == nil || attempt == attempts {
			table(what, seen, asked)
			return wrong
		}
	}
}

// table prints the shares that were asked for and those that were seen.
func table(what string, seen map[string]int, asked map[string]float64) {
	n := total(seen)
	fmt.Printf("    %-12s %8s %8s  (%d %s)\n", "version", "asked", "served", n, what)
	for _, v := range versions(seen, asked) {
		fmt.Printf("    %-12s %7.1f%% %7.1f%%\n", v, 100*asked[v], 100*float64(seen[v])/float64(max(n, 1)))
	}
}

// outside fails if the difference between asked and seen cannot be chance.
func outside(what string, seen map[string]int, asked map[string]float64) error {
	var wrong error
	n := float64(max(total(seen), 1))
	for _, v := range versions(seen, asked) {
		p, got := asked[v], float64(seen[v])/n
		if bound := sigmas*math.Sqrt(p*(1-p)/n) + 1e-9; math.Abs(got-p) > bound {
			wrong = errors.Join(wrong, fmt.Errorf("version %s: asked %.1f%%, served %.1f%% of %.0f %s, outside +-%.1f", v, 100*p, 100*got, n, what, 100*bound))
		}
	}
	return wrong
}

func total(seen map[string]int) int {
	n := 0
	for _, c := range seen {
		n += c
	}
	return n
}

func versions(seen map[string]int, asked map[string]float64) []string {
	all := slices.Concat(slices.Collect(maps.Keys(seen)), slices.Collect(maps.Keys(asked)))
	slices.Sort(all)
	return slices.Compact(all)
}

func title(s string) { fmt.Printf("\n== %s\n", s) }

func indent(s string) string {
	return "    " + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n    ") + "\n"
}
