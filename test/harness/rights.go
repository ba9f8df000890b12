package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"grayscale.dev/grayscale/test/access"
)

// Requests are what a ServiceAccount has asked the lab's API server for so far, each kind of request once.
func Requests(namespace, account string) ([]access.Request, error) {
	return current().requests(namespace, account)
}

func (l *lab) requests(namespace, account string) ([]access.Request, error) {
	log, err := os.Open(filepath.Join(l.Dir, "logs", "audit.jsonl"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // it has only been read
	return access.Requests(log, "system:serviceaccount:"+namespace+":"+account)
}

// missing are the requests of the installed grayscale that no role of manifests/base allows. One that was refused only
// because its binding had gone, as while grayscale is uninstalled, is none.
func (l *lab) missing() ([]access.Request, error) {
	rendered, err := os.ReadFile(filepath.Join(l.base, "grayscale.yaml"))
	if err != nil {
		return nil, err
	}
	rights, err := access.Rights(rendered)
	if err != nil {
		return nil, err
	}
	requests, err := l.requests(systemNamespace, "grayscale")
	if err != nil {
		return nil, err
	}
	if len(requests) == 0 || len(rights) == 0 {
		return nil, fmt.Errorf("grayscale has %d rights and made %d requests", len(rights), len(requests))
	}
	return slices.DeleteFunc(requests, func(q access.Request) bool {
		return !q.Refused || slices.ContainsFunc(rights, func(r access.Right) bool { return r.Covers(q) })
	}), nil
}
