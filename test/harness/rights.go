package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"grayscale.dev/grayscale/test/access"
)

// Requests are the requests of a ServiceAccount to the lab's API server so far, each kind once.
func Requests(namespace, account string) ([]access.Request, error) {
	return current().requests(namespace, account)
}

func (l *lab) requests(namespace, account string) ([]access.Request, error) {
	log, err := os.Open(filepath.Join(l.Dir, "logs", "audit.jsonl"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // only reads
	return access.Requests(log, "system:serviceaccount:"+namespace+":"+account)
}

// missing are the requests of the installed grayscale that no role of manifests/base allows. It leaves out requests
// that were refused only because the binding was gone, as during an uninstallation.
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
