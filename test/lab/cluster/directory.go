package cluster

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// directory is a lab's directory: everything that a lab writes is in it, at these names.
type directory string

func (d directory) lock() string                    { return d.file("lab.lock") }
func (d directory) state() string                   { return d.file("lab.json") }
func (d directory) kubeconfig() string              { return d.file("kubeconfig") }
func (d directory) etcd() string                    { return d.file("etcd") }
func (d directory) config(name string) string       { return d.file("config", name) }
func (d directory) log(component string) string     { return d.file("logs", component+".log") }
func (d directory) restart(component string) string { return d.file("restart", component) }
func (d directory) grayscalePath() string           { return d.file("grayscale.path") }
func (d directory) grayscaleManifests() string      { return d.file("grayscale.manifests") }
func (d directory) file(elements ...string) string {
	return filepath.Join(append([]string{string(d)}, elements...)...)
}
func (d directory) kubeconfigOf(identity string) string { return d.config(identity + ".kubeconfig") }

// openDirectory makes path absolute, since components run with whatever working directory they like.
func openDirectory(path string) (directory, error) {
	if path == "" {
		return "", errors.New("--dir is missing: name a directory for the lab's files, for example --dir .lab/demo")
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("--dir %s: %w", path, err)
	}
	return directory(absolute), nil
}

// audit is the API server's log of what ServiceAccounts outside kube-system have asked, a JSON object per line.
func (d directory) audit() string { return d.file("logs", "audit.jsonl") }

// clean makes the directory ready for a new lab: what an earlier lab left there goes, files of other names stay.
func (d directory) clean() error {
	for _, name := range []string{"lab.json", "kubeconfig", "etcd", "config", "logs", "pods", "restart", "grayscale.path", "grayscale.manifests"} {
		if err := os.RemoveAll(d.file(name)); err != nil {
			return fmt.Errorf("remove what an earlier lab left: %w", err)
		}
	}
	for _, name := range []string{"config", "logs", "restart"} {
		if err := os.MkdirAll(d.file(name), 0o700); err != nil {
			return fmt.Errorf("make the lab's directory: %w", err)
		}
	}
	return nil
}

// acquire locks the directory for this process; the lock ends with the process, however that ends.
func (d directory) acquire() (*os.File, error) {
	if err := os.MkdirAll(string(d), 0o755); err != nil {
		return nil, fmt.Errorf("make the lab's directory: %w", err)
	}
	file, err := os.OpenFile(d.lock(), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the lab's lock: %w", err)
	}
	err = unix.FcntlFlock(file.Fd(), unix.F_OFD_SETLK, wholeFile())
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		owner, _ := readOwner(file)
		err = fmt.Errorf("%s belongs to a running lab (process %d): end it with `lab down --dir %s`, or choose another --dir", d, owner, d)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	if err := writeOwner(file, os.Getpid()); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// owner is the process id of the lab that runs in the directory; false when none does. It only looks: taking the lock
// for a moment could make a lab that is just starting fail.
func (d directory) owner() (int, bool, error) {
	file, err := os.Open(d.lock())
	if errors.Is(err, os.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("open the lab's lock: %w", err)
	}
	defer func() { _ = file.Close() }()
	held := wholeFile()
	if err := unix.FcntlFlock(file.Fd(), unix.F_OFD_GETLK, held); err != nil {
		return 0, false, fmt.Errorf("look at the lab's lock %s: %w", d.lock(), err)
	}
	if held.Type == unix.F_UNLCK {
		return 0, false, nil
	}
	pid, err := readOwner(file)
	return pid, err == nil, err
}

// wholeFile asks for an exclusive lock that belongs to the open file, not to the process (fcntl(2), open file
// description locks): such a lock says nothing about its owner, so the process id is the file's content.
func wholeFile() *unix.Flock_t {
	return &unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
}

func writeOwner(file *os.File, pid int) error {
	if err := file.Truncate(0); err != nil {
		return fmt.Errorf("write the lab's lock: %w", err)
	}
	if _, err := file.WriteAt([]byte(strconv.Itoa(pid)+"\n"), 0); err != nil {
		return fmt.Errorf("write the lab's lock: %w", err)
	}
	return nil
}

func readOwner(file *os.File) (int, error) {
	raw := make([]byte, 32)
	n, err := file.ReadAt(raw, 0)
	if n == 0 {
		return 0, fmt.Errorf("read the owner from %s: %w", file.Name(), err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(raw[:n])))
	if err != nil {
		return 0, fmt.Errorf("read the owner from %s: %w", file.Name(), err)
	}
	return pid, nil
}
