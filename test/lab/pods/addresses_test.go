package pods

import "testing"

func TestAddresses(t *testing.T) {
	a := newAddresses(7)
	if _, ok := a.claim("10.7.1.2", "old"); !ok {
		t.Fatal("a Pod of an earlier run cannot keep its address")
	}
	first, _ := a.take("a")
	second, _ := a.take("b")
	if first.String() != "10.7.1.1" || second.String() != "10.7.1.3" {
		t.Errorf("took %s and %s; want 10.7.1.1 and, past the claimed one, 10.7.1.3", first, second)
	}
	if got := loopback(second).String(); got != "127.7.1.3" {
		t.Errorf("%s listens on %s", second, got)
	}
	a.release(first, "b")
	if _, ok := a.claim("10.7.1.1", "b"); ok {
		t.Error("somebody else's address was released")
	}
	a.release(first, "a")
	if next, _ := a.take("c"); next == first {
		t.Error("an address is reused before the others")
	}
	for _, foreign := range []string{"", "10.8.1.1", "10.7.0.5", "192.168.7.1", "fd00::1", "10.7.1.2"} {
		if _, ok := a.claim(foreign, "x"); ok {
			t.Errorf("%q was claimed", foreign)
		}
	}
	var err error
	for range poolSize {
		if _, err = a.take("many"); err != nil {
			break
		}
	}
	if err == nil {
		t.Error("more addresses than there are")
	}
}
