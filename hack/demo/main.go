// Command demo shows the three strategies on its own lab: a real API server, istiod and Envoy. After every step it
// prints the shares that were asked for and those that Envoy served. It fails if a split is outside its statistical
// bounds or a request was lost.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
)

func main() {
	root := flag.String("root", ".", "the repository's root")
	keep := flag.Bool("keep", false, "leave the lab running at the end")
	port := flag.Int("base-port", 0, "first of the ports that the lab uses, all under 32768; 0 takes free ones")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *root, *keep, *port); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, root string, keep bool, port int) (err error) {
	if runtime.GOOS != "linux" {
		return fmt.Errorf("the lab needs Linux (all of 127.0.0.0/8 local, Envoy's Linux binary); this is %s", runtime.GOOS)
	}
	dir := filepath.Join(root, ".lab", "demo")
	l, err := up(ctx, root, dir, port)
	if err != nil {
		return err
	}
	defer func() {
		if keep && err == nil {
			l.howToPlay()
			return
		}
		err = errors.Join(err, l.down())
	}()
	return play(ctx, l)
}
