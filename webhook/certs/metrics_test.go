package certs

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// The gauge has no value until there is a certificate, because 0 would count as long expired.
func TestExpiryOfTheCertificate(t *testing.T) {
	expiry.Reset()
	if n := testutil.CollectAndCount(expiry); n != 0 {
		t.Errorf("without a certificate there are %d series", n)
	}
	observeExpiry(issued(t, day).serving)
	if got, want := testutil.ToFloat64(expiry), float64(day.Add(year*3/4).Unix()); got != want {
		t.Errorf("it expires at %.0f, want %.0f", got, want)
	}
}

func TestMetricsAreWellNamed(t *testing.T) {
	for _, c := range Collectors() {
		found, err := testutil.CollectAndLint(c)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range found {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}
